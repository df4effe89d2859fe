// A25: a connection that breaks at any byte of a masked vector's upload. The
// next one goes on from what the coordinator kept. Every whole chunk that had
// reached it is kept; what was still under way is sent again.

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>
#include <thread>

#include "absl/time/clock.h"
#include "base/random.h"
#include "client/grpc/channel.h"
#include "client/grpc/transfers.h"
#include "protos/edgetune/v1/federation.grpc.pb.h"
#include "protos/grpc_status.h"
#include "tests/secagg/cutting_proxy.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

constexpr uint64_t kVector = (5 << 20) + 4321;
// A chunk; and handshake, HTTP/2 and TLS records of such an upload.
constexpr uint64_t kMostAgain = (256 << 10) + (64 << 10);

int Cuts() {
  const char* wanted = std::getenv("EDGETUNE_LONG");
  return wanted != nullptr && std::string_view(wanted) == "1" ? 1000 : 20;
}

class UploadCutTest : public ::testing::Test {
 protected:
  // One call over a connection of its own, from this offset to the end.
  absl::StatusOr<v1::UploadStatus> Upload(int port, uint64_t offset) {
    const auto stub = v1::Federation::NewStub(
        MakeChannel(world_.device_kit, "127.0.0.1:" + std::to_string(port)));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(60));
    v1::UploadStatus response;
    auto writer = stub->Upload(&context, &response);
    SendChunks(*writer, key_, offset, AsBytes(bytes_), [](uint64_t) {});
    const absl::Status status = FromGrpcStatus(writer->Finish());
    if (!status.ok()) return status;
    return response;
  }

  v1::UploadStatus Query() {
    const auto stub = v1::Federation::NewStub(
        MakeChannel(world_.device_kit, world_.address()));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(60));
    v1::UploadStatus response;
    EXPECT_TRUE(stub->QueryUpload(&context, key_, &response).ok());
    return response;
  }

  // Where the upload went on to its end. The coordinator may still be taking
  // what had arrived when it is first asked.
  uint64_t GoOn() {
    for (int attempt = 0; attempt < 50; ++attempt) {
      const uint64_t kept = Query().committed();
      const auto rest = Upload(world_.server->port(), kept);
      if (rest.ok() && rest->complete()) return kept;
    }
    ADD_FAILURE() << "the upload never came to its end";
    return 0;
  }

  // Breaks it while bytes are under way.
  void UploadUntilCut(testing::CuttingProxy& proxy, uint64_t cut) {
    proxy.CutAfter(cut);
    EXPECT_FALSE(Upload(proxy.port(), 0).ok()) << cut;
  }
  // Breaks it when the coordinator has taken what went through.
  void UploadUntilTaken(testing::CuttingProxy& proxy, uint64_t cut) {
    proxy.HaltAfter(cut);
    std::thread upload(
        [&] { EXPECT_FALSE(Upload(proxy.port(), 0).ok()) << cut; });
    bool taken = false;
    for (int attempt = 0; attempt < 5000 && !taken; ++attempt) {
      taken = Query().committed() + kMostAgain >= cut;
      if (!taken) absl::SleepFor(absl::Milliseconds(2));
    }
    proxy.Cut();
    upload.join();
    EXPECT_TRUE(taken) << cut;
  }

  void MakeVector(uint64_t seed) {
    bytes_ = MakeBytes(kVector, seed);
    key_.set_sha256(Sha256Bytes(bytes_));
    key_.set_size(bytes_.size());
  }

  RpcWorld world_;
  std::string bytes_;
  v1::UploadKey key_;
};

TEST_F(UploadCutTest, A25GoesOnWhereverItWasCut) {
  testing::CuttingProxy proxy(world_.server->port());
  Random random(25);
  for (int i = 0; i < Cuts() && !HasFailure(); ++i) {
    MakeVector(static_cast<uint64_t>(i));
    const uint64_t cut = 1 + random.Below(kVector);
    const bool under_way = i % 2 == 0;
    under_way ? UploadUntilCut(proxy, cut) : UploadUntilTaken(proxy, cut);
    const uint64_t kept = GoOn();
    EXPECT_LE(kept, cut);
    if (!under_way) {
      EXPECT_LE(cut, kept + kMostAgain);
    }
    ASSERT_TRUE(world_.blobs->Has(Sha256(bytes_)));
    ASSERT_TRUE(world_.blobs->Remove(Sha256(bytes_)).ok());
  }
}

}  // namespace
}  // namespace edgetune
