#include "server/rpc/rpc_server.h"

#include <gmock/gmock.h>

#include <string>

#include "base/status.h"
#include "protos/grpc_status.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

absl::Status TryListen(RpcWorld& world, const std::string& listen,
                       const Kit& kit) {
  return RpcServer::Start(listen, kit, &world.coordinator, world.blobs.get())
      .status();
}

TEST(RpcServerTest, ReportsThePortItWasGiven) {
  RpcWorld world;
  EXPECT_GT(world.server->port(), 0);
}

TEST(RpcServerTest, NamesTheAddressThatIsInUse) {
  RpcWorld world;
  absl::Status status = TryListen(world, world.address(), world.server_kit);
  EXPECT_EQ(KindOf(status), ErrorKind::kPortInUse);
  EXPECT_EQ(ExitCodeOf(status), 2);
  EXPECT_THAT(std::string(status.message()), HasSubstr(world.address()));
}

TEST(RpcServerTest, FindsThePortInUseBehindANameOfSeveralAddresses) {
  RpcWorld world;
  std::string port = std::to_string(world.server->port());
  EXPECT_EQ(KindOf(TryListen(world, "localhost:" + port, world.server_kit)),
            ErrorKind::kPortInUse);
  EXPECT_EQ(KindOf(TryListen(world, "0.0.0.0:" + port, world.server_kit)),
            ErrorKind::kPortInUse);
}

TEST(RpcServerTest, RefusesAnAddressItCannotRead) {
  RpcWorld world;
  for (const char* listen :
       {"", "localhost", "localhost:", "localhost:http", "localhost:70000",
        "192.0.2.1:0", "no-such-host.invalid:0"}) {
    EXPECT_EQ(KindOf(TryListen(world, listen, world.server_kit)),
              ErrorKind::kConfig)
        << listen;
  }
}

TEST(RpcServerTest, RefusesAKitThatIsNotAServers) {
  RpcWorld world;
  EXPECT_EQ(KindOf(TryListen(world, "127.0.0.1:0", world.device_kit)),
            ErrorKind::kIdentity);
}

TEST(GrpcStatusTest, KeepsCodeMessageKindAndHintAcrossTheWire) {
  absl::Status status =
      Annotate(absl::DataLossError("part x differs"),
               ErrorKind::kDigestMismatch, "fetch it again\nplease");
  absl::Status back = FromGrpcStatus(ToGrpcStatus(status));
  EXPECT_TRUE(absl::IsDataLoss(back));
  EXPECT_EQ(back.message(), "part x differs");
  EXPECT_EQ(KindOf(back), ErrorKind::kDigestMismatch);
  EXPECT_EQ(HintOf(back), "fetch it again\nplease");
}

TEST(GrpcStatusTest, IgnoresDetailsThatAreNotOurs) {
  for (const char* details :
       {"", "other", "edgetune-status\n", "edgetune-status\nconfig",
        "edgetune-status\nno_such_kind\nhint"}) {
    absl::Status status = FromGrpcStatus(
        grpc::Status(grpc::StatusCode::NOT_FOUND, "gone", details));
    EXPECT_EQ(status, absl::NotFoundError("gone"));
  }
  EXPECT_TRUE(absl::IsUnknown(
      FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(99), "odd"))));
}

TEST(GrpcStatusTest, CutsWhatWouldNotFitIntoMetadata) {
  absl::Status status =
      Annotate(absl::InternalError(std::string(100'000, 'm')),
               ErrorKind::kInternal, std::string(100'000, 'h'));
  grpc::Status wire = ToGrpcStatus(status);
  EXPECT_LT(wire.error_message().size() + wire.error_details().size(), 4096u);
}

}  // namespace
}  // namespace edgetune
