// Enrolment and renewal over the wire: the real client against the real
// service (A19).

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "client/grpc/channel.h"
#include "client/grpc/enrollment_client.h"
#include "protos/edgetune/v1/enrollment.grpc.pb.h"
#include "protos/grpc_status.h"
#include "server/rpc/enrollment_server.h"
#include "server/rpc/listener.h"
#include "tests/server/enrollment_world.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class EnrollmentRpcTest : public EnrollmentWorld {
 protected:
  void SetUp() override {
    EnrollmentWorld::SetUp();
    Listen();
  }
  void TearDown() override { server_.reset(); }

  void Listen() {
    server_.reset();
    auto started =
        EnrollmentServer::Start("127.0.0.1:0", kit_->kit(), office_.get());
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  std::string address() const {
    return "127.0.0.1:" + std::to_string(server_->port());
  }
  Invitation InvitationOf(const std::string& name) {
    return LoadInvitation(scratch_.File("kits/invitations/" + name),
                          clock_.Now())
        .value();
  }
  std::string KitPath(const std::string& name) const {
    return scratch_.File("made/" + name);
  }
  absl::Status EnrollAs(const std::string& name, const std::string& path) {
    return EnrollDevice(InvitationOf(name), KitPath(path), address());
  }
  // As a device does that cannot connect: gRPC 1.51 reads errno of connect()
  // after calls that may set it, so a thread's first connection can fail for
  // no reason of the network's.
  absl::Status Insist(const std::string& name, const std::string& path) {
    absl::Status status = EnrollAs(name, path);
    for (int i = 0; i < 3 && absl::IsUnavailable(status); ++i) {
      status = EnrollAs(name, path);
    }
    return status;
  }
  Kit Device(const std::string& path) {
    return LoadKit(path, PartyRole::kDevice, absl::Now()).value();
  }
  std::string D1() const { return scratch_.File("kits/devices/d1"); }
  // Renews as whoever `kit` is, with a request that is in order for "d1".
  absl::Status CallRenew(const Kit& kit) {
    const auto stub = v1::Enrollment::NewStub(
        MakeChannel(kit, address(), PartyRole::kEnrollment));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(20));
    v1::EnrollResponse response;
    return FromGrpcStatus(
        stub->Renew(&context, Applicant("d1").Renewal(), &response));
  }

  std::unique_ptr<EnrollmentServer> server_;
};

TEST_F(EnrollmentRpcTest, ADeviceMakesItsKitFromAnInvitation) {
  const absl::Status done = EnrollAs("t1", "t1");
  ASSERT_TRUE(done.ok()) << done;
  const Kit kit = Device(KitPath("t1"));
  EXPECT_EQ(kit.identity.id, "t1");
  EXPECT_EQ(kit.server_address, "localhost:7443");
  const PublishedRoster roster = kit_->ReadRoster().value();
  const auto index = roster.roster.Find(ClientIdOf("t1"));
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(roster.roster.Member(*index).identity_key,
            SigningKey::FromPem(*kit.identity_key_pem)->public_key().raw());
}

TEST_F(EnrollmentRpcTest, A19OfAHundredSybilsWithOneTokenExactlyOneEnrols) {
  std::atomic<int> enrolled{0}, denied{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 10; ++j) {
        const absl::Status status =
            Insist("t1", "sybil-" + std::to_string(i * 10 + j));
        enrolled += status.ok();
        denied += absl::IsPermissionDenied(status);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(denied, 99);
  int kits = 0;
  for (const auto& entry : fs::directory_iterator(scratch_.File("made"))) {
    kits += entry.path().extension() != ".enrolling";
  }
  EXPECT_EQ(kits, 1);
  EXPECT_EQ(kit_->ReadRoster()->roster.entries().size(), 2u);
}

TEST_F(EnrollmentRpcTest, ADeviceWhoseAnswerWasLostAsksAgain) {
  const PendingKit pending = PrepareKit(KitPath("t1"), "t1").value();
  const std::string token = TokenOf("t1");
  v1::EnrollRequest request;
  request.set_token(token);
  request.set_csr(pending.request_der);
  request.set_identity_key(pending.identity_key.public_key().raw());
  request.set_proof(
      pending.identity_key
          .Sign(EnrollProofBytes(token, request.csr(), request.identity_key()))
          .value());
  ASSERT_TRUE(office_->Enroll(request, "somewhere").ok());
  EXPECT_TRUE(EnrollAs("t1", "t1").ok());
  EXPECT_EQ(Device(KitPath("t1")).identity.id, "t1");
}

TEST_F(EnrollmentRpcTest, RefusalsKeepTheirWordsAndTheKeysMade) {
  ASSERT_TRUE(EnrollAs("t1", "first").ok());
  const absl::Status again = EnrollAs("t1", "second");
  EXPECT_TRUE(absl::IsPermissionDenied(again));
  EXPECT_EQ(ExitCodeOf(again), 2);
  EXPECT_THAT(std::string(again.message()), HasSubstr("used before"));
  EXPECT_THAT(HintOf(again), HasSubstr("new invitation"));
  EXPECT_FALSE(fs::exists(KitPath("second")));
}

TEST_F(EnrollmentRpcTest, FailuresAreCountedByAddressNotByConnection) {
  failures_per_minute_ = 2;
  server_.reset();
  ASSERT_TRUE(Open().ok());
  Listen();
  Invitation wrong = InvitationOf("t1");
  wrong.token = std::string(32, 'x');
  const auto attempt = [&] {
    return EnrollDevice(wrong, KitPath("wrong"), address());
  };
  EXPECT_TRUE(absl::IsPermissionDenied(attempt()));
  EXPECT_TRUE(absl::IsPermissionDenied(attempt()));
  EXPECT_TRUE(absl::IsResourceExhausted(attempt()));
}

TEST_F(EnrollmentRpcTest, ARenewedKitHasANewKeyAndCertificate) {
  Kit kit = Device(D1());
  const std::string old_key = kit.key_pem, old = kit.certificate_pem;
  const absl::Status renewed = RenewKit(address(), clock_.Now(), &kit);
  ASSERT_TRUE(renewed.ok()) << renewed;
  EXPECT_NE(kit.key_pem, old_key);
  EXPECT_NE(kit.certificate_pem, old);
  EXPECT_EQ(Device(D1()).certificate_pem, kit.certificate_pem);
  // The new one is as good as the old one was.
  EXPECT_TRUE(RenewKit(address(), clock_.Now(), &kit).ok());
}

TEST_F(EnrollmentRpcTest, A18OnlyADevicesOwnCertificateRenews) {
  Kit stranger = Device(D1());
  stranger.key_pem.clear();
  EXPECT_TRUE(absl::IsUnauthenticated(CallRenew(stranger)));
  const Kit op =
      LoadKit(scratch_.File("kits/operator"), PartyRole::kOperator, absl::Now())
          .value();
  EXPECT_TRUE(absl::IsPermissionDenied(CallRenew(op)));
  // d1's certificate with another identity key.
  EXPECT_TRUE(absl::IsPermissionDenied(CallRenew(Device(D1()))));
}

TEST_F(EnrollmentRpcTest, A20ACertificateOfAnotherAuthorityEndsTheHandshake) {
  ProvisionOptions options;
  options.directory = scratch_.File("other");
  options.device_ids = {"d1"};
  options.now = clock_.Now();
  ASSERT_TRUE(Provision(options).ok());
  Kit kit = Device(scratch_.File("other/devices/d1"));
  kit.ca_pem = kit_->kit().ca_pem;
  EXPECT_TRUE(absl::IsUnavailable(CallRenew(kit)));
}

TEST_F(EnrollmentRpcTest, A18ARevokedDeviceDoesNotRenew) {
  Kit kit = Device(D1());
  Revoke("d1");
  const std::string before = kit.certificate_pem;
  EXPECT_TRUE(
      absl::IsPermissionDenied(RenewKit(address(), clock_.Now(), &kit)));
  EXPECT_EQ(Device(D1()).certificate_pem, before);
}

TEST_F(EnrollmentRpcTest, ACoordinatorCannotPoseAsTheEnrolmentService) {
  const Kit server =
      LoadKit(scratch_.File("kits/server"), PartyRole::kServer, absl::Now())
          .value();
  v1::Enrollment::CallbackService impostor;
  const auto coordinator = Listener::Start(
      {.listen = "127.0.0.1:0", .role = PartyRole::kServer}, server,
      {&impostor});
  ASSERT_TRUE(coordinator.ok()) << coordinator.status();
  const absl::Status status =
      EnrollDevice(InvitationOf("t1"), KitPath("t1"),
                   "127.0.0.1:" + std::to_string((*coordinator)->port()));
  EXPECT_TRUE(absl::IsUnauthenticated(status)) << status;
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_FALSE(
      EnrollmentServer::Start("127.0.0.1:0", server, office_.get()).ok());
}

TEST_F(EnrollmentRpcTest, AnOversizeRequestIsNotRead) {
  const auto stub = v1::Enrollment::NewStub(
      MakeChannel(Device(D1()), address(), PartyRole::kEnrollment));
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(20));
  v1::EnrollRequest request;
  request.set_csr(std::string(16 << 10, 'x'));
  v1::EnrollResponse response;
  EXPECT_EQ(stub->Enroll(&context, request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(EnrollmentRpcTest, RenewalIsDueAfterTwoThirdsOfTheLife) {
  const Kit kit = Device(D1());
  const auto facts = ReadCertificate(kit.certificate_pem);
  // The life begins five minutes before it was issued.
  EXPECT_EQ(RenewalTime(kit).value() - facts->not_before,
            (absl::Hours(24 * 30) + absl::Minutes(5)) * 2 / 3);
}

TEST_F(EnrollmentRpcTest, ARunningClientRenewsByItself) {
  const std::string before = Device(D1()).certificate_pem;
  clock_.Advance(absl::Hours(24 * 20) + absl::Minutes(1));
  std::string after = before;
  {
    const KitRenewal renewal(Device(D1()), address(), &clock_);
    for (int i = 0; i < 2000 && after == before; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
      const auto kit = LoadKit(D1(), PartyRole::kDevice, clock_.Now());
      ASSERT_TRUE(kit.ok()) << kit.status();
      after = kit->certificate_pem;
    }
  }
  EXPECT_NE(after, before);
  EXPECT_GT(ReadCertificate(after)->not_after,
            clock_.Now() + absl::Hours(24 * 29));
}

}  // namespace
}  // namespace edgetune
