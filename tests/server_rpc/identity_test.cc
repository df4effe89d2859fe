// Who gets in, and what the handshake is made of (A20, A21).

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

TEST(RpcIdentityTest, RefusesACallerWithoutCertificateInTheHandshake) {
  RpcWorld world;
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = world.authority.ca_pem();
  auto channel =
      grpc::CreateChannel(world.address(), grpc::SslCredentials(options));
  EXPECT_EQ(ListRuns(channel).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(world.coordinator.calls(), 0);
}

TEST(RpcIdentityTest, RefusesACertificateOfAnotherAuthority) {
  RpcWorld world;
  ExpectHandshakeFails(world, Authority().MakeKit(PartyRole::kOperator, "op"));
}

TEST(RpcIdentityTest, RefusesAnExpiredCertificate) {
  RpcWorld world;
  KitFlaw flaw;
  flaw.expired = true;
  ExpectHandshakeFails(
      world, world.authority.MakeKit(PartyRole::kOperator, "op", flaw));
}

TEST(RpcIdentityTest, RefusesACertificateForAnotherUsage) {
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

TEST(RpcIdentityTest, SpeaksTls13WithWhoeverCan) {
  RpcWorld world;
  EXPECT_EQ(ProbeTls(world.server->port(), world.device_kit, {}), "TLSv1.3");
}

TEST(RpcIdentityTest, SpeaksTls12WithForwardSecrecyAndAeadOnly) {
  RpcWorld world;
  int port = world.server->port();
  EXPECT_EQ(ProbeTls(port, world.device_kit, "ECDHE-ECDSA-AES128-GCM-SHA256"),
            "TLSv1.2");
  EXPECT_EQ(ProbeTls(port, world.device_kit, "ECDHE-ECDSA-AES128-SHA256"), "");
  EXPECT_EQ(ProbeTls(port, world.device_kit, "ECDHE-ECDSA-AES256-SHA"), "");
}

}  // namespace
}  // namespace edgetune
