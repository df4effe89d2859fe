#include "client/grpc/grpc_transport.h"

#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "base/units.h"
#include "tests/client_grpc/recording_listener.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Transport> Dial(const Kit& kit, const std::string& address,
                                RecordingListener* listener) {
  auto transport = MakeGrpcTransport(kit, address);
  EXPECT_TRUE(transport.ok()) << transport.status();
  EXPECT_TRUE((*transport)->Start(listener).ok());
  return *std::move(transport);
}

v1::ServerMessage ComeBack(const std::string& reason) {
  v1::ServerMessage message;
  message.mutable_come_back()->set_reason(reason);
  return message;
}

v1::ClientMessage Hello() {
  v1::ClientMessage message;
  message.mutable_hello()->set_population("pop");
  return message;
}

v1::UploadKey KeyOf(const std::string& bytes) {
  v1::UploadKey key;
  key.set_sha256(Sha256Bytes(bytes));
  key.set_size(bytes.size());
  return key;
}

TEST(GrpcTransportTest, CarriesMessagesBothWaysInOrder) {
  RpcWorld world;
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  for (int i = 0; i < 50; ++i) transport->Send(Hello());
  ASSERT_TRUE(world.coordinator.WaitReceived(50));
  auto channel = world.coordinator.ChannelOf("d1");
  for (int i = 0; i < 50; ++i) channel->Send(ComeBack(std::to_string(i)));
  ASSERT_TRUE(listener.WaitMessages(50));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(listener.messages()[i].come_back().reason(), std::to_string(i));
  }
}

TEST(GrpcTransportTest, ComesBackAfterARestartOfTheServer) {
  RpcWorld world;
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  world.Restart();
  ASSERT_TRUE(listener.WaitUps(2));
  EXPECT_GE(listener.downs().size(), 1u);
  transport->Send(Hello());
  EXPECT_TRUE(world.coordinator.WaitReceived(1));
}

TEST(GrpcTransportTest, TakesARefusalAsFinal) {
  RpcWorld world;
  world.coordinator.SetDenied({"d1"});
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitDowns(1));
  EXPECT_TRUE(absl::IsPermissionDenied(listener.downs()[0]));
  EXPECT_THAT(std::string(listener.downs()[0].message()),
              HasSubstr("deny list"));
  absl::SleepFor(absl::Milliseconds(500));  // longer than the first pause
  EXPECT_EQ(listener.downs().size(), 1u);
  EXPECT_EQ(listener.ups(), 0u);
}

TEST(GrpcTransportTest, TriesAgainAfterAnotherStreamReplacedIt) {
  RpcWorld world;
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  world.coordinator.ChannelOf("d1")->Close(absl::AbortedError("replaced"));
  ASSERT_TRUE(listener.WaitUps(2));
  EXPECT_TRUE(absl::IsAborted(listener.downs()[0]));
}

TEST(GrpcTransportTest, NeverCallsItsListenerAfterClose) {
  RpcWorld world;
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  transport->Close();
  EXPECT_TRUE(listener.downs().empty());
  EXPECT_TRUE(world.coordinator.WaitConnected("d1", false));
  transport->Send(Hello());
  EXPECT_TRUE(absl::IsUnavailable(transport->QueryUpload(KeyOf("x")).status()));
}

TEST(GrpcTransportTest, DownloadsFromAnOffsetInVerifiedChunks) {
  RpcWorld world;
  std::string bytes = MakeBytes(700'000, 1);
  Digest digest = *world.blobs->Put(AsBytes(bytes));
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  std::string got = bytes.substr(0, 1000);
  absl::Status status = transport->Download(
      digest, 1000, [&](std::span<const uint8_t> data, uint64_t total) {
        EXPECT_EQ(total, bytes.size());
        got.append(data.begin(), data.end());
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(got, bytes);
}

TEST(GrpcTransportTest, EndsADownloadWhoseSinkFailsWithTheSinksWord) {
  RpcWorld world;
  Digest digest = *world.blobs->Put(AsBytes(MakeBytes(3 << 20, 2)));
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  absl::Status full = absl::ResourceExhaustedError("disk full");
  EXPECT_EQ(
      transport->Download(
          digest, 0, [&](std::span<const uint8_t>, uint64_t) { return full; }),
      full);
}

TEST(GrpcTransportTest, UploadsFromWhereTheServerStands) {
  RpcWorld world;
  std::string bytes = MakeBytes(900'000, 3);
  v1::UploadKey key = KeyOf(bytes);
  ASSERT_TRUE(world.blobs
                  ->AppendPartial("update-d1-" + ToHex(key.sha256()), 0,
                                  AsBytes(bytes).first(300'000), bytes.size())
                  .ok());
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  EXPECT_EQ(transport->QueryUpload(key)->committed(), 300'000u);
  auto status = transport->Upload(key, 300'000, AsBytes(bytes));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_TRUE(status->complete());
  EXPECT_EQ(world.coordinator.bytes_up(), 600'000u);
}

TEST(GrpcTransportTest, SaysThatItIsNotConnected) {
  RpcWorld world;
  auto transport = *MakeGrpcTransport(world.device_kit, world.address());
  absl::Status status = transport->QueryUpload(KeyOf("x")).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(KindOf(status), ErrorKind::kConnection);
}

TEST(GrpcTransportTest, CancelsATransferThatIsUnderWayWhenItCloses) {
  RpcWorld world;
  Digest digest = *world.blobs->Put(AsBytes(MakeBytes(8 << 20, 4)));
  RecordingListener listener;
  auto transport = Dial(world.device_kit, world.address(), &listener);
  ASSERT_TRUE(listener.WaitUps(1));
  std::thread closer;
  absl::Status status =
      transport->Download(digest, 0, [&](std::span<const uint8_t>, uint64_t) {
        if (!closer.joinable()) {
          closer = std::thread([&] { transport->Close(); });
          closer.join();
          closer = std::thread([] {});
        }
        return absl::OkStatus();
      });
  closer.join();
  EXPECT_FALSE(status.ok());
}

}  // namespace
}  // namespace edgetune
