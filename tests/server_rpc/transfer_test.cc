// Uploads and downloads from a bare stub, which may misbehave (A25).

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "client/grpc/channel.h"
#include "protos/edgetune/v1/federation.grpc.pb.h"
#include "protos/edgetune/v1/operator.grpc.pb.h"
#include "protos/grpc_status.h"
#include "tests/server_rpc/rpc_world.h"
#include "tests/testing/small_disk.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr size_t kChunk = 256 << 10;

v1::UploadKey KeyOf(const std::string& bytes) {
  v1::UploadKey key;
  key.set_sha256(Sha256Bytes(bytes));
  key.set_size(bytes.size());
  return key;
}

v1::UploadChunk ChunkAt(uint64_t offset, const std::string& data) {
  v1::UploadChunk chunk;
  chunk.set_offset(offset);
  chunk.set_data(data);
  chunk.set_crc32c(Crc32c(data));
  return chunk;
}

// A device's upload calls.
class Uploader {
 public:
  explicit Uploader(RpcWorld& world)
      : stub_(v1::Federation::NewStub(
            MakeChannel(world.device_kit, world.address()))) {}

  // One call with exactly these chunks.
  absl::StatusOr<v1::UploadStatus> Send(
      const std::vector<v1::UploadChunk>& chunks) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(40));
    v1::UploadStatus response;
    auto writer = stub_->Upload(&context, &response);
    for (const v1::UploadChunk& chunk : chunks) writer->Write(chunk);
    writer->WritesDone();
    absl::Status status = FromGrpcStatus(writer->Finish());
    if (!status.ok()) return status;
    return response;
  }

  // bytes[offset, offset + count) under the key of all.
  absl::StatusOr<v1::UploadStatus> SendPart(const std::string& bytes,
                                            uint64_t offset, uint64_t count) {
    std::vector<v1::UploadChunk> chunks;
    for (uint64_t at = offset; at < offset + count; at += kChunk) {
      chunks.push_back(
          ChunkAt(at, bytes.substr(at, std::min(kChunk, offset + count - at))));
    }
    if (chunks.empty()) chunks.push_back(ChunkAt(offset, ""));
    *chunks[0].mutable_key() = KeyOf(bytes);
    return Send(chunks);
  }

  v1::UploadStatus Query(const std::string& bytes) {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(40));
    v1::UploadStatus response;
    EXPECT_TRUE(stub_->QueryUpload(&context, KeyOf(bytes), &response).ok());
    return response;
  }

  // Begins an upload and leaves the call open.
  struct Open {
    grpc::ClientContext context;
    v1::UploadStatus response;
    std::unique_ptr<grpc::ClientWriter<v1::UploadChunk>> writer;
  };
  std::unique_ptr<Open> Begin(const std::string& bytes, size_t count) {
    auto open = std::make_unique<Open>();
    SetDeadline(open->context, absl::Seconds(40));
    open->writer = stub_->Upload(&open->context, &open->response);
    v1::UploadChunk chunk = ChunkAt(0, bytes.substr(0, count));
    *chunk.mutable_key() = KeyOf(bytes);
    open->writer->Write(chunk);
    return open;
  }

 private:
  std::unique_ptr<v1::Federation::Stub> stub_;
};

absl::Status SendFlawed(RpcWorld& world, const v1::UploadChunk& chunk) {
  return Uploader(world).Send({chunk}).status();
}

TEST(UploadTest, StoresAnUploadUnderItsDigest) {
  RpcWorld world;
  std::string bytes = MakeBytes(kChunk * 3 + 17, 1);
  auto status = Uploader(world).SendPart(bytes, 0, bytes.size());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_TRUE(status->complete());
  EXPECT_EQ(*world.blobs->Size(Sha256(bytes)), bytes.size());
  EXPECT_EQ(world.coordinator.bytes_up(), bytes.size());
}

TEST(UploadTest, ResumesAtWhateverByteItWasCut) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(6 << 20, 2);
  Random random(7);
  uint64_t at = 0;
  while (at < bytes.size()) {
    uint64_t count =
        std::min<uint64_t>(bytes.size() - at, 1 + random.Below(600'000));
    ASSERT_TRUE(uploader.SendPart(bytes, at, count).ok());
    ASSERT_EQ(uploader.Query(bytes).committed(), at + count);
    at += count;
  }
  EXPECT_TRUE(world.blobs->Has(Sha256(bytes)));
  EXPECT_EQ(world.coordinator.bytes_up(), bytes.size());
}

TEST(UploadTest, AnswersARepeatedUploadWithComplete) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(1000, 3);
  ASSERT_TRUE(uploader.SendPart(bytes, 0, 1000)->complete());
  EXPECT_TRUE(uploader.SendPart(bytes, 1000, 0)->complete());
  EXPECT_EQ(uploader.Query(bytes).committed(), 1000u);
  EXPECT_EQ(world.coordinator.bytes_up(), 1000u);
}

TEST(UploadTest, RefusesADamagedChunkAndKeepsWhatWasGood) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(2000, 4);
  ASSERT_TRUE(uploader.SendPart(bytes, 0, 1000).ok());
  v1::UploadChunk chunk = ChunkAt(1000, bytes.substr(1000));
  *chunk.mutable_key() = KeyOf(bytes);
  chunk.set_crc32c(chunk.crc32c() ^ 1);
  EXPECT_TRUE(absl::IsDataLoss(SendFlawed(world, chunk)));
  EXPECT_EQ(uploader.Query(bytes).committed(), 1000u);
}

TEST(UploadTest, RefusesOtherBytesThanAnnouncedAndStartsAgain) {
  RpcWorld world;
  std::string bytes = MakeBytes(2000, 5);
  v1::UploadChunk chunk = ChunkAt(0, MakeBytes(2000, 6));
  *chunk.mutable_key() = KeyOf(bytes);
  EXPECT_TRUE(absl::IsDataLoss(SendFlawed(world, chunk)));
  EXPECT_EQ(Uploader(world).Query(bytes).committed(), 0u);
  EXPECT_FALSE(world.blobs->Has(Sha256(bytes)));
}

TEST(UploadTest, RefusesAnOffsetThatIsNotTheCommittedSize) {
  RpcWorld world;
  std::string bytes = MakeBytes(2000, 8);
  v1::UploadChunk chunk = ChunkAt(5, bytes.substr(5));
  *chunk.mutable_key() = KeyOf(bytes);
  absl::Status status = SendFlawed(world, chunk);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("for byte 5, wanted byte 0"));
}

TEST(UploadTest, RefusesMalformedUploads) {
  RpcWorld world;
  std::string bytes = MakeBytes(kChunk + 1, 9);
  v1::UploadChunk too_large = ChunkAt(0, bytes);
  *too_large.mutable_key() = KeyOf(bytes);
  v1::UploadChunk no_key = ChunkAt(0, "x");
  v1::UploadChunk short_digest = ChunkAt(0, "x");
  short_digest.mutable_key()->set_sha256("abc");
  short_digest.mutable_key()->set_size(1);
  v1::UploadChunk nothing = ChunkAt(0, "");
  *nothing.mutable_key() = KeyOf("");
  for (const auto& chunk : {too_large, no_key, short_digest, nothing}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SendFlawed(world, chunk)));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Uploader(world).Send({}).status()));
}

TEST(UploadTest, RefusesMoreBytesThanAnnounced) {
  RpcWorld world;
  v1::UploadChunk chunk = ChunkAt(0, MakeBytes(2001, 10));
  *chunk.mutable_key() = KeyOf(MakeBytes(2000, 10));
  EXPECT_TRUE(absl::IsOutOfRange(SendFlawed(world, chunk)));
}

// The device would take the server's full disk for its own, and give up.
TEST(UploadTest, AFullDiskOfTheServerIsToldAsTryAgain) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(300'000, 17);
  {
    testing::SmallDisk disk(100'000);
    absl::Status status = uploader.SendPart(bytes, 0, bytes.size()).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_EQ(KindOf(status), KindOf(absl::UnavailableError("")));
  }
  uint64_t there = uploader.Query(bytes).committed();
  auto again = uploader.SendPart(bytes, there, bytes.size() - there);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->complete());
}

TEST(UploadTest, EndsWhenTheRoundHasClosedMeanwhile) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(2000, 11);
  auto open = uploader.Begin(bytes, 1000);
  while (uploader.Query(bytes).committed() < 1000) {
  }
  world.coordinator.CloseUploads();
  open->writer->Write(ChunkAt(1000, bytes.substr(1000)));
  open->writer->WritesDone();
  EXPECT_EQ(open->writer->Finish().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_FALSE(world.blobs->Has(Sha256(bytes)));
}

TEST(UploadTest, LetsADeviceHaveTwoUploadsInFlight) {
  RpcWorld world;
  Uploader uploader(world);
  std::string a = MakeBytes(2000, 12), b = MakeBytes(2000, 13),
              c = MakeBytes(2000, 14);
  auto first = uploader.Begin(a, 1000);
  auto second = uploader.Begin(b, 1000);
  while (uploader.Query(a).committed() + uploader.Query(b).committed() < 2000) {
  }
  EXPECT_TRUE(
      absl::IsResourceExhausted(uploader.SendPart(c, 0, 2000).status()));
  first->writer->WritesDone();
  EXPECT_TRUE(first->writer->Finish().ok());
  EXPECT_TRUE(uploader.SendPart(c, 0, 2000).ok());
  second->context.TryCancel();
  second->writer->Finish();
}

TEST(UploadTest, LetsANewStreamTakeOverFromALostOne) {
  RpcWorld world;
  Uploader uploader(world);
  std::string bytes = MakeBytes(3000, 15);
  auto lost = uploader.Begin(bytes, 1000);
  while (uploader.Query(bytes).committed() < 1000) {
  }
  ASSERT_TRUE(uploader.SendPart(bytes, 1000, 500).ok());
  lost->writer->Write(ChunkAt(1000, bytes.substr(1000, 10)));
  EXPECT_EQ(lost->writer->Finish().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_TRUE(uploader.SendPart(bytes, 1500, 1500)->complete());
}

// Downloads as `kit`, from `offset`.
absl::Status Download(RpcWorld& world, const Digest& digest, uint64_t offset,
                      std::string* out) {
  auto stub =
      v1::Federation::NewStub(MakeChannel(world.device_kit, world.address()));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(40));
  v1::DownloadRequest request;
  request.set_digest(DigestBytes(digest));
  request.set_offset(offset);
  auto reader = stub->Download(&context, request);
  v1::Chunk chunk;
  while (reader->Read(&chunk)) {
    EXPECT_EQ(Crc32c(chunk.data()), chunk.crc32c());
    EXPECT_LE(chunk.data().size(), kChunk);
    *out += chunk.data();
  }
  return FromGrpcStatus(reader->Finish());
}

TEST(DownloadTest, SendsABlobFromAnyOffsetAndCountsItsBytes) {
  RpcWorld world;
  std::string bytes = MakeBytes(kChunk * 2 + 5, 16);
  Digest digest = *world.blobs->Put(AsBytes(bytes));
  for (uint64_t offset : {size_t{0}, size_t{1}, kChunk, bytes.size()}) {
    uint64_t before = world.coordinator.bytes_down();
    std::string got;
    ASSERT_TRUE(Download(world, digest, offset, &got).ok());
    EXPECT_EQ(got, bytes.substr(offset));
    EXPECT_EQ(world.coordinator.bytes_down() - before, got.size());
  }
}

TEST(DownloadTest, SaysWhatIsWrongWithARequest) {
  RpcWorld world;
  Digest digest = *world.blobs->Put(AsBytes("ten bytes."));
  std::string got;
  absl::Status status = Download(world, digest, 11, &got);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("from byte 11 of a blob of 10 bytes"));
  EXPECT_TRUE(absl::IsNotFound(Download(world, Sha256("absent"), 0, &got)));
  EXPECT_EQ(got, "");
}

}  // namespace
}  // namespace edgetune
