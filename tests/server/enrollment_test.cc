// The enrolment office without a wire (A19).

#include "server/enrollment.h"

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tests/server/enrollment_world.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class EnrollmentTest : public EnrollmentWorld {
 protected:
  absl::StatusOr<v1::EnrollResponse> Enroll(const v1::EnrollRequest& request) {
    return office_->Enroll(request, "ipv4:192.0.2.1");
  }
  void ExpectDenied(const v1::EnrollRequest& request,
                    const std::string& message) {
    const auto answer = Enroll(request);
    EXPECT_TRUE(absl::IsPermissionDenied(answer.status())) << answer.status();
    EXPECT_EQ(KindOf(answer.status()), ErrorKind::kIdentity);
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr(message));
  }
};

TEST_F(EnrollmentTest, ATokenBecomesACertificateAndAPlaceInTheRoster) {
  const Applicant applicant("t1");
  const auto answer = Enroll(applicant.Request(TokenOf("t1")));
  ASSERT_TRUE(answer.ok()) << answer.status();
  const std::string& certificate = answer->certificate();
  EXPECT_TRUE(CheckIssuedBy(certificate, kit_->kit().ca_pem).ok());
  EXPECT_TRUE(CheckKeyMatches(certificate, applicant.tls().key_pem).ok());
  EXPECT_EQ(ReadCertificate(certificate)->uris,
            std::vector<std::string>{"edgetune://device/t1"});
  const PublishedRoster roster = kit_->ReadRoster().value();
  EXPECT_EQ(roster.head.version(), 2u);
  const auto index = roster.roster.Find(ClientIdOf("t1"));
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(roster.roster.Member(*index).identity_key,
            applicant.identity().public_key().raw());
  EXPECT_TRUE(kit_->ReadExpiries()->count("t1"));
}

TEST_F(EnrollmentTest, A19OfAHundredSybilsWithOneTokenExactlyOneEnrols) {
  const std::string token = TokenOf("t1");
  std::vector<Applicant> sybils;
  for (int i = 0; i < 100; ++i) sybils.emplace_back("t1");
  std::atomic<int> enrolled{0}, denied{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 10; ++j) {
        const auto answer = Enroll(sybils[i * 10 + j].Request(token));
        enrolled += answer.ok();
        denied += absl::IsPermissionDenied(answer.status());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(denied, 99);
  EXPECT_EQ(kit_->ReadRoster()->roster.entries().size(), 2u);
}

TEST_F(EnrollmentTest, TheSameRequestAgainGetsTheSameCertificate) {
  const Applicant applicant("t1");
  const v1::EnrollRequest request = applicant.Request(TokenOf("t1"));
  const auto first = Enroll(request);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(Open().ok());  // also after a restart
  const auto second = Enroll(request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first->certificate(), second->certificate());
  EXPECT_EQ(kit_->ReadRoster()->head.version(), 2u);
}

TEST_F(EnrollmentTest, UnknownUsedAndExpiredTokensAreDenied) {
  const Applicant one("t1"), two("t1");
  const std::string token = TokenOf("t1"), other = TokenOf("t2");
  ExpectDenied(one.Request(std::string(32, 'x')), "unknown");
  ASSERT_TRUE(Enroll(one.Request(token)).ok());
  ExpectDenied(two.Request(token), "used before");
  clock_.Advance(kTokenLife);
  ExpectDenied(two.Request(other), "expired");
  EXPECT_EQ(kit_->ReadRoster()->roster.entries().size(), 2u);
}

TEST_F(EnrollmentTest, AProofByAnotherKeyOrOfOtherThingsIsDenied) {
  const Applicant me("t1"), other("t1");
  const std::string token = TokenOf("t1"), second = TokenOf("t2");
  std::vector<v1::EnrollRequest> bad(5, me.Request(token));
  bad[0].set_proof(other.Request(token).proof());
  bad[1].set_identity_key(other.identity().public_key().raw());
  bad[2].set_csr(other.tls().request_der);
  bad[3].set_proof(me.Request(second).proof());
  bad[4].set_proof(me.Renewal().proof());
  for (const v1::EnrollRequest& request : bad) ExpectDenied(request, "proof");
  // None of them used the token up.
  EXPECT_TRUE(Enroll(me.Request(token)).ok());
}

TEST_F(EnrollmentTest, MalformedRequestsAreRefused) {
  const Applicant me("t1");
  const v1::EnrollRequest good = me.Request(TokenOf("t1"));
  std::vector<v1::EnrollRequest> bad(6, good);
  bad[0].clear_token();
  bad[1].mutable_token()->push_back('x');
  bad[2].clear_identity_key();
  bad[3].mutable_proof()->pop_back();
  bad[4].mutable_identity_key()->push_back('x');
  bad[5].Clear();
  for (const v1::EnrollRequest& request : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(Enroll(request).status()));
  }
  EXPECT_TRUE(Enroll(good).ok());
}

TEST_F(EnrollmentTest, ARequestForANonsenseKeyIsRefusedAndTheTokenKept) {
  const Applicant me("t1");
  v1::EnrollRequest request = me.Request(TokenOf("t1"));
  for (const std::string& csr :
       {std::string(), std::string("not DER"), std::string(5000, 'x'),
        me.tls().request_der + "x"}) {
    request.set_csr(csr);
    request.set_proof(me.identity()
                          .Sign(EnrollProofBytes(request.token(), csr,
                                                 request.identity_key()))
                          .value());
    EXPECT_TRUE(absl::IsInvalidArgument(Enroll(request).status()));
  }
  EXPECT_TRUE(Enroll(me.Request(TokenOf("t1"))).ok());
}

TEST_F(EnrollmentTest, OneIdentityKeyIsOneDevice) {
  const Applicant me("t1");
  ASSERT_TRUE(Enroll(me.Request(TokenOf("t1"))).ok());
  ExpectDenied(me.Request(TokenOf("t2")), "identity key");
}

TEST_F(EnrollmentTest, WhoeverFailsTooOftenIsTurnedAwayForAMinute) {
  failures_per_minute_ = 3;
  ASSERT_TRUE(Open().ok());
  const Applicant me("t1");
  const v1::EnrollRequest good = me.Request(TokenOf("t1"));
  for (int i = 0; i < 3; ++i) {
    ExpectDenied(me.Request(std::string(32, 'x')), "unknown");
  }
  EXPECT_TRUE(absl::IsResourceExhausted(Enroll(good).status()));
  // Others are not concerned, and the next minute is another one.
  const Applicant other("t2");
  EXPECT_TRUE(
      office_->Enroll(other.Request(TokenOf("t2")), "ipv4:192.0.2.2").ok());
  clock_.Advance(absl::Minutes(1));
  EXPECT_TRUE(Enroll(good).ok());
}

// A roster that cannot be written: a directory stands in its place.
class BlockedRoster {
 public:
  explicit BlockedRoster(const std::string& kit) : path_(kit + "/sequence") {
    fs::rename(path_, path_ + ".aside");
    fs::create_directory(path_);
  }
  ~BlockedRoster() {
    fs::remove(path_);
    fs::rename(path_ + ".aside", path_);
  }

 private:
  const std::string path_;
};

TEST_F(EnrollmentTest, ACrashBetweenTokenAndRosterIsFinishedAtTheNextStart) {
  const Applicant applicant("t1");
  const v1::EnrollRequest request = applicant.Request(TokenOf("t1"));
  {
    const BlockedRoster blocked(enroll());
    EXPECT_TRUE(absl::IsUnavailable(Enroll(request).status()));
  }
  EXPECT_FALSE(kit_->ReadRoster()->Admits("t1"));
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(kit_->ReadRoster()->Admits("t1"));
  EXPECT_TRUE(Published().Admits("t1"));
  // The token is used up all the same, and the device gets what it asked for.
  ExpectDenied(Applicant("t1").Request(TokenOf("t1")), "used before");
  EXPECT_TRUE(Enroll(request).ok());
}

TEST_F(EnrollmentTest, ARequestAfterAFailedRosterFinishesWithoutARestart) {
  const Applicant applicant("t1");
  const v1::EnrollRequest request = applicant.Request(TokenOf("t1"));
  {
    const BlockedRoster blocked(enroll());
    EXPECT_TRUE(absl::IsUnavailable(Enroll(request).status()));
  }
  EXPECT_TRUE(Enroll(request).ok());
  EXPECT_TRUE(kit_->ReadRoster()->Admits("t1"));
}

TEST_F(EnrollmentTest, ATokenAddedWhileItRunsIsGood) {
  const absl::Time end = clock_.Now() + absl::Hours(1);
  const auto made = MakeInvitation(kit_->kit(), "t3", end);
  ASSERT_TRUE(kit_->AddTokens({made->record}).ok());
  const Applicant applicant("t3");
  const v1::EnrollRequest request = applicant.Request(made->invitation.token);
  ExpectDenied(request, "unknown");
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_TRUE(Enroll(request).ok());
}

TEST_F(EnrollmentTest, AnInvitationMadeAgainVoidsTheFirst) {
  const std::string old = TokenOf("t1");
  const auto made =
      MakeInvitation(kit_->kit(), "t1", clock_.Now() + absl::Hours(1));
  ASSERT_TRUE(kit_->AddTokens({made->record}).ok());
  ASSERT_TRUE(office_->Tick().ok());
  ExpectDenied(Applicant("t1").Request(old), "unknown");
  EXPECT_TRUE(Enroll(Applicant("t1").Request(made->invitation.token)).ok());
}

TEST_F(EnrollmentTest, EveryVersionIsPublishedWhole) {
  EXPECT_EQ(Published().head.version(), 1u);
  ASSERT_TRUE(Enroll(Applicant("t1").Request(TokenOf("t1"))).ok());
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_EQ(Published().head.version(), 2u);
  Revoke("d1");  // by the tool, beside the running service
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_EQ(Published().head.version(), 3u);
  EXPECT_FALSE(Published().Admits("d1"));
}

TEST_F(EnrollmentTest, APublicationThatFailsIsTriedAgain) {
  fs::remove(published());
  fs::create_directory(published());
  Revoke("d1");
  EXPECT_FALSE(office_->Tick().ok());
  EXPECT_FALSE(office_->Tick().ok());
  fs::remove(published());
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_FALSE(Published().Admits("d1"));
}

TEST_F(EnrollmentTest, AnAgeingRosterIsSignedAgain) {
  clock_.Advance(kRosterRefresh - absl::Seconds(1));
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_EQ(Published().head.version(), 1u);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(office_->Tick().ok());
  EXPECT_EQ(Published().head.version(), 2u);
  // One that expired while nobody ran is no obstacle.
  clock_.Advance(kRosterLife * 2);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Published().head.version(), 3u);
}

TEST_F(EnrollmentTest, ARenewalNeedsTheIdentityKeyAndAnActiveDevice) {
  const Applicant me("t1"), other("t1");
  ASSERT_TRUE(Enroll(me.Request(TokenOf("t1"))).ok());
  clock_.Advance(absl::Hours(24 * 20));
  const auto renewed = office_->Renew("t1", me.Renewal());
  ASSERT_TRUE(renewed.ok()) << renewed.status();
  // To the second, as certificates count.
  EXPECT_EQ(ReadCertificate(renewed->certificate())->not_after,
            absl::FromUnixSeconds(absl::ToUnixSeconds(clock_.Now())) +
                absl::Hours(24 * 30));
  for (const auto& [device, request] :
       {std::pair("t1", other.Renewal()), std::pair("d1", me.Renewal()),
        std::pair("t2", me.Renewal())}) {
    EXPECT_TRUE(
        absl::IsPermissionDenied(office_->Renew(device, request).status()));
  }
  Revoke("t1");
  EXPECT_TRUE(
      absl::IsPermissionDenied(office_->Renew("t1", me.Renewal()).status()));
}

TEST_F(EnrollmentTest, ADeviceThatRenewsAllTheTimeIsTurnedAway) {
  failures_per_minute_ = 3;
  ASSERT_TRUE(Open().ok());
  const Applicant me("t1");
  ASSERT_TRUE(Enroll(me.Request(TokenOf("t1"))).ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(office_->Renew("t1", me.Renewal()).ok());
  }
  EXPECT_TRUE(
      absl::IsResourceExhausted(office_->Renew("t1", me.Renewal()).status()));
  clock_.Advance(absl::Minutes(1));
  EXPECT_TRUE(office_->Renew("t1", me.Renewal()).ok());
}

TEST(FailureLimiterTest, CountsEachCallerAMinuteLong) {
  FailureLimiter limiter(2);
  const absl::Time now = absl::Now();
  limiter.CountFailure("a", now);
  EXPECT_TRUE(limiter.Check("a", now).ok());
  limiter.CountFailure("a", now);
  EXPECT_TRUE(absl::IsResourceExhausted(limiter.Check("a", now)));
  EXPECT_TRUE(limiter.Check("b", now).ok());
  EXPECT_TRUE(limiter.Check("a", now + absl::Minutes(1)).ok());
  EXPECT_TRUE(limiter.Check("a", now - absl::Hours(1)).ok());
}

TEST(FailureLimiterTest, BeyondItsBoundNewcomersShareOneCount) {
  FailureLimiter limiter(2);
  const absl::Time now = absl::Now();
  for (int i = 0; i < 10002; ++i) {
    limiter.CountFailure(std::to_string(i), now);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(limiter.Check("newcomer", now)));
  EXPECT_TRUE(limiter.Check("7", now).ok());
}

}  // namespace
}  // namespace edgetune
