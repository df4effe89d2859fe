// Who gets in, and what the handshake is made of (A18, A20, A21).

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "client/grpc/channel.h"
#include "protos/edgetune/v1/federation.grpc.pb.h"
#include "protos/edgetune/v1/operator.grpc.pb.h"
#include "protos/grpc_status.h"
#include "tests/server_rpc/rpc_world.h"
#include "tests/server_rpc/tcp_relay.h"
#include "tests/server_rpc/tls_probe.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

grpc::Status ListRuns(std::shared_ptr<grpc::Channel> channel) {
  auto stub = v1::Operator::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(20));
  v1::ListResponse response;
  return stub->List(&context, {}, &response);
}

grpc::Status Query(std::shared_ptr<grpc::Channel> channel) {
  auto stub = v1::Federation::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(20));
  v1::UploadKey key;
  key.set_sha256(std::string(32, 'x'));
  key.set_size(1);
  v1::UploadStatus response;
  return stub->QueryUpload(&context, key, &response);
}

// `kit` dials the world's server, whose CA it trusts.
void ExpectHandshakeFails(RpcWorld& world, Kit kit) {
  kit.ca_pem = world.authority.ca_pem();
  grpc::Status status = ListRuns(MakeChannel(kit, world.address()));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, AdmitsAGoodOperatorAndAGoodDevice) {
  RpcWorld world;
  EXPECT_TRUE(ListRuns(MakeChannel(world.operator_kit, world.address())).ok());
  EXPECT_TRUE(Query(MakeChannel(world.device_kit, world.address())).ok());
  EXPECT_EQ(world.coordinator.calls(), 2);
}

TEST(RpcIdentityTest, A20RefusesACallerWithoutCertificateInTheHandshake) {
  RpcWorld world;
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = world.authority.ca_pem();
  auto channel =
      grpc::CreateChannel(world.address(), grpc::SslCredentials(options));
  EXPECT_EQ(ListRuns(channel).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, A20RefusesACertificateOfAnotherAuthority) {
  RpcWorld world;
  ExpectHandshakeFails(world, Authority().MakeKit(PartyRole::kOperator, "op"));
}

TEST(RpcIdentityTest, A20RefusesAnExpiredCertificate) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.expired = true;
  ExpectHandshakeFails(
      world, world.authority.MakeKit(PartyRole::kOperator, "op", flaw));
}

TEST(RpcIdentityTest, A20RefusesACertificateForAnotherUsage) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.wrong_usage = true;
  ExpectHandshakeFails(
      world, world.authority.MakeKit(PartyRole::kOperator, "op", flaw));
}

TEST(RpcIdentityTest, RefusesADeviceAtTheOperatorService) {
  RpcWorld world;
  absl::Status status =
      FromGrpcStatus(ListRuns(MakeChannel(world.device_kit, world.address())));
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("device \"d1\" may not call the Operator service"));
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, RefusesAnOperatorAtTheFederationService) {
  RpcWorld world;
  EXPECT_EQ(
      Query(MakeChannel(world.operator_kit, world.address())).error_code(),
      grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, RefusesACertificateThatNamesNoParty) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.uri = "https://example.org/d1";
  Kit kit = world.authority.MakeKit(PartyRole::kDevice, "d1", flaw);
  EXPECT_EQ(Query(MakeChannel(kit, world.address())).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, A21SpeaksTls13WithWhoeverCan) {
  RpcWorld world;
  EXPECT_EQ(ProbeTls(world.server->port(), world.device_kit, {}), "TLSv1.3");
}

TEST(RpcIdentityTest, A21SpeaksTls12WithForwardSecrecyAndAeadOnly) {
  RpcWorld world;
  int port = world.server->port();
  EXPECT_EQ(ProbeTls(port, world.device_kit, "ECDHE-ECDSA-AES128-GCM-SHA256"),
            "TLSv1.2");
  // Whatever else OpenSSL can offer for such a certificate: CBC, CCM, no
  // forward secrecy.
  for (const char* suite :
       {"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-CAMELLIA128-SHA256", "ECDHE-ECDSA-AES128-CCM",
        "AES128-SHA256", "AES128-GCM-SHA256"}) {
    EXPECT_EQ(ProbeTls(port, world.device_kit, suite), "") << suite;
  }
}

// The version that a ServerHello chose (RFC 8446, 4.1.3 and 4.2.1), read from
// the first bytes that a server sent; 0 when they are something else.
uint16_t ChosenVersion(const std::string& wire) {
  const auto at = [&](size_t i) {
    return i < wire.size() ? static_cast<uint8_t>(wire[i]) : 0;
  };
  const auto pair = [&](size_t i) {
    return static_cast<uint16_t>(at(i) << 8 | at(i + 1));
  };
  if (at(0) != 22 || at(5) != 2) return 0;  // handshake, ServerHello
  size_t i = 5 + 4 + 2 + 32;                // header, version, random
  i += 1 + at(i);                           // session id
  i += 2 + 1;                               // suite, compression
  const size_t end = i + 2 + pair(i);
  for (i += 2; i + 4 <= end; i += 4 + pair(i + 2)) {
    if (pair(i) == 43) return pair(i + 4);  // supported_versions
  }
  return pair(9);
}

TEST(RpcIdentityTest, A21OurOwnPairNegotiatesTls13) {
  RpcWorld world;
  TcpRelay relay(world.server->port());
  EXPECT_TRUE(Query(MakeChannel(world.device_kit,
                                "127.0.0.1:" + std::to_string(relay.port())))
                  .ok());
  EXPECT_EQ(ChosenVersion(relay.FromServer()), 0x0304);
}

TEST(RpcIdentityTest, A18IdentityIsThatOfTheUriWhateverElseIsClaimed) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.uri = "edgetune://device/d1";
  // Its common name says d2, and so does what it sends along.
  const Kit kit = world.authority.MakeKit(PartyRole::kDevice, "d2", flaw);
  auto stub = v1::Federation::NewStub(MakeChannel(kit, world.address()));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(20));
  for (const char* key : {"device-id", "x509_common_name", "peer_uri"}) {
    context.AddMetadata(key, "edgetune://device/d2");
  }
  auto stream = stub->Participate(&context);
  EXPECT_TRUE(world.coordinator.WaitConnected("d1"));
  EXPECT_EQ(world.coordinator.ChannelOf("d2"), nullptr);
  context.TryCancel();
  stream->Finish();
}

}  // namespace
}  // namespace edgetune
