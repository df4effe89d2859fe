// What a person reads when a server cannot be reached or trusted.

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/status.h"
#include "client/grpc/grpc_transport.h"
#include "client/grpc/operator_client.h"
#include "tests/client_grpc/recording_listener.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

absl::Status TryConnect(const Kit& kit, const std::string& address) {
  return OperatorClient::Connect(kit, address).status();
}

void ExpectError(const absl::Status& status, ErrorKind kind,
                 const std::string& text) {
  EXPECT_EQ(KindOf(status), kind) << status;
  EXPECT_EQ(ExitCodeOf(status), 2);
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
  EXPECT_NE(HintOf(status), "");
}

TEST(ConnectionErrorTest, SaysThatNobodyListens) {
  RpcWorld world;
  std::string address = world.address();
  world.server->Shutdown();
  ExpectError(TryConnect(world.operator_kit, address), ErrorKind::kConnection,
              "cannot connect to " + address + ": connection refused");
}

TEST(ConnectionErrorTest, SaysThatTheHostIsUnknown) {
  RpcWorld world;
  ExpectError(TryConnect(world.operator_kit, "no-such-host.invalid:7443"),
              ErrorKind::kConnection, "unknown host");
}

TEST(ConnectionErrorTest, SaysThatTheServerIsOfAnotherAuthority) {
  RpcWorld world;
  Kit stranger = Authority().MakeKit(PartyRole::kOperator, "op");
  absl::Status status = TryConnect(stranger, world.address());
  ExpectError(status, ErrorKind::kIdentity, "of another CA");
  EXPECT_TRUE(absl::IsUnauthenticated(status));
}

TEST(ConnectionErrorTest, SaysThatTheServersCertificateIsOutOfDate) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.expired = true;
  world.server_kit =
      world.authority.MakeKit(PartyRole::kServer, "server", flaw);
  world.Restart();
  ExpectError(TryConnect(world.operator_kit, world.address()),
              ErrorKind::kIdentity, "out of date");
}

TEST(ConnectionErrorTest, SaysThatTheCertificateIsForAnotherHost) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.dns_names = {"elsewhere.example"};
  flaw.addresses = {"192.0.2.1"};
  world.server_kit =
      world.authority.MakeKit(PartyRole::kServer, "server", flaw);
  world.Restart();
  ExpectError(TryConnect(world.operator_kit, world.address()),
              ErrorKind::kIdentity, "not for this host");
}

TEST(ConnectionErrorTest, RefusesADeviceThatPosesAsTheServer) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.uri = "edgetune://device/d7";
  world.server_kit =
      world.authority.MakeKit(PartyRole::kServer, "server", flaw);
  world.Restart();
  ExpectError(TryConnect(world.operator_kit, world.address()),
              ErrorKind::kIdentity, "not that of a server");
}

TEST(ConnectionErrorTest, HintsAtTheKitWhenTheServerHangsUp) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.expired = true;
  Kit kit = world.authority.MakeKit(PartyRole::kOperator, "op", flaw);
  absl::Status status = TryConnect(kit, world.address());
  ExpectError(status, ErrorKind::kConnection, world.address());
  EXPECT_THAT(HintOf(status), HasSubstr("refuse this kit's certificate"));
}

TEST(ConnectionErrorTest, TellsAKitOfTheWrongRoleBeforeDialling) {
  RpcWorld world;
  absl::Status status = TryConnect(world.device_kit, world.address());
  ExpectError(status, ErrorKind::kIdentity, "role \"device\"");
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(ConnectionErrorTest, RefusesAnAddressWithoutPort) {
  RpcWorld world;
  for (const char* address : {"localhost", "localhost:", ":1", "a:b"}) {
    EXPECT_EQ(KindOf(TryConnect(world.operator_kit, address)),
              ErrorKind::kConfig);
    EXPECT_EQ(KindOf(MakeGrpcTransport(world.device_kit, address).status()),
              ErrorKind::kConfig);
  }
}

TEST(ConnectionErrorTest, EndsATransportWhoseServerIsNotTrusted) {
  RpcWorld world;
  Kit stranger = Authority().MakeKit(PartyRole::kDevice, "d1");
  auto transport = *MakeGrpcTransport(stranger, world.address());
  RecordingListener listener;
  ASSERT_TRUE(transport->Start(&listener).ok());
  ASSERT_TRUE(listener.WaitDowns(1));
  ExpectError(listener.downs()[0], ErrorKind::kIdentity, "of another CA");
  absl::SleepFor(absl::Milliseconds(500));  // longer than the first pause
  EXPECT_EQ(listener.downs().size(), 1u);
}

}  // namespace
}  // namespace edgetune
