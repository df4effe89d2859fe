#include "privacy/identity/enrollment_kit.h"

#include <gmock/gmock.h>

#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "privacy/identity/invitation.h"
#include "tests/privacy_identity/fleet_kits.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class EnrollmentKitTest : public FleetKits {
 protected:
  static EnrollmentKit::RosterChange Add(const std::string& name) {
    return [name](auto& entries) {
      entries.push_back(MakeRosterEntry(name, std::string(32, 'k'), kNow));
      return absl::OkStatus();
    };
  }
  static TokenRecord Token(const std::string& name) {
    return {name, std::string(32, 't'), kNow + absl::Hours(1)};
  }
};

TEST_F(EnrollmentKitTest, EveryChangeIsAVersion) {
  const EnrollmentKit kit = OpenEnroll();
  const auto changed = kit.ChangeRoster(kNow, Add("d3"));
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->head.version(), 2u);
  EXPECT_TRUE(changed->Admits("d3"));
  const auto read = kit.ReadRoster();
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->envelope.payload(), changed->envelope.payload());
  EXPECT_EQ(SetStatus(kit, v1::RosterEntry::REVOKED).head.version(), 3u);
  EXPECT_FALSE(kit.ReadRoster()->Admits("d1"));
}

TEST_F(EnrollmentKitTest, AChangeThatFailsSignsNothing) {
  const EnrollmentKit kit = OpenEnroll();
  EXPECT_TRUE(absl::IsCancelled(kit.ChangeRoster(kNow,
                                                 [](auto& entries) {
                                                   entries.clear();
                                                   return absl::CancelledError(
                                                       "no");
                                                 })
                                    .status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(kit.ChangeRoster(kNow, Add("d1")).status()));
  EXPECT_EQ(kit.ReadRoster()->head.version(), 1u);
}

TEST_F(EnrollmentKitTest, AnOlderRosterPutBackDoesNotLowerTheVersion) {
  const EnrollmentKit kit = OpenEnroll();
  const std::string first = ReadText(enroll() + "/roster.pb");
  SetStatus(kit, v1::RosterEntry::REVOKED);
  SetStatus(kit, v1::RosterEntry::ACTIVE);
  WriteText(enroll() + "/roster.pb", first);
  EXPECT_EQ(kit.ChangeRoster(kNow, Add("d3"))->head.version(), 4u);
}

TEST_F(EnrollmentKitTest, ALostOrTornRosterIsNotBegunAnew) {
  const EnrollmentKit kit = OpenEnroll();
  const std::string whole = ReadText(enroll() + "/roster.pb");
  WriteText(enroll() + "/roster.pb", whole.substr(0, whole.size() / 2));
  EXPECT_FALSE(kit.ChangeRoster(kNow, Add("d3")).ok());
  fs::remove(enroll() + "/roster.pb");
  EXPECT_TRUE(absl::IsNotFound(kit.ChangeRoster(kNow, Add("d3")).status()));
  WriteText(enroll() + "/roster.pb", whole);
  EXPECT_TRUE(kit.ChangeRoster(kNow, Add("d3")).ok());
}

TEST_F(EnrollmentKitTest, ADamagedSequenceIsAnError) {
  const EnrollmentKit kit = OpenEnroll();
  for (const char* text :
       {"", "x\n", "1", "-1\n", "1\n2\n", "99999999999999999999\n"}) {
    WriteText(enroll() + "/sequence", text);
    EXPECT_FALSE(kit.ChangeRoster(kNow, Add("d3")).ok()) << text;
  }
}

TEST_F(EnrollmentKitTest, ChangesSideBySideAreAllKept) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      const EnrollmentKit kit = OpenEnroll();
      const std::string name = "n" + std::to_string(i);
      EXPECT_TRUE(kit.ChangeRoster(kNow, Add(name)).ok());
      EXPECT_TRUE(kit.AddTokens({Token("t" + std::to_string(i))}).ok());
      EXPECT_TRUE(kit.RecordExpiries({{name, kNow}}).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  const EnrollmentKit kit = OpenEnroll();
  EXPECT_EQ(kit.ReadRoster()->head.version(), 9u);
  EXPECT_EQ(kit.ReadRoster()->roster.entries().size(), 10u);
  EXPECT_EQ(kit.ReadTokens()->size(), 9u);
  EXPECT_EQ(kit.ReadExpiries()->size(), 10u);
}

TEST_F(EnrollmentKitTest, CertificatesAreOfTheCaAndLastAMonth) {
  const EnrollmentKit kit = OpenEnroll();
  const auto request = MakeSigningRequest("whatever");
  const auto pem = kit.Certify("d9", request->request_der, kNow);
  ASSERT_TRUE(pem.ok()) << pem.status();
  EXPECT_TRUE(CheckIssuedBy(*pem, kit.kit().ca_pem).ok());
  const auto facts = ReadCertificate(*pem);
  EXPECT_EQ(facts->uris, std::vector<std::string>{"edgetune://device/d9"});
  EXPECT_EQ(facts->not_after, kNow + absl::Hours(24 * 30));
}

TEST_F(EnrollmentKitTest, ANameMayBeInvitedAgainUntilItIsEnrolled) {
  const EnrollmentKit kit = OpenEnroll();
  EXPECT_TRUE(kit.AddTokens({Token("new"), Token("later")}).ok());
  const auto tokens = kit.ReadTokens();
  ASSERT_TRUE(tokens.ok());
  ASSERT_EQ(tokens->size(), 2u);
  for (const TokenRecord& token : *tokens) {
    EXPECT_EQ(token.sha256, Token("any").sha256) << token.name;
  }
  EXPECT_TRUE(absl::IsAlreadyExists(kit.AddTokens({Token("d1")})));
  EXPECT_TRUE(
      absl::IsAlreadyExists(kit.AddTokens({Token("twice"), Token("twice")})));
  EXPECT_EQ(kit.ReadTokens()->size(), 2u);
}

TEST_F(EnrollmentKitTest, KnowsWhenTheCertificatesItMadeEnd) {
  const auto expiries = OpenEnroll().ReadExpiries();
  ASSERT_TRUE(expiries.ok());
  const EnrollmentKit::Expiries wanted = {{"d1", kNow + absl::Hours(24 * 30)},
                                          {"d2", kNow + absl::Hours(24 * 30)}};
  EXPECT_EQ(*expiries, wanted);
}

TEST_F(EnrollmentKitTest, KeysOfAnotherProvisioningAreNoticed) {
  const std::pair<const char*, const char*> cases[] = {
      {"roster.key.pem", "/server/round.key.pem"},
      {"ca.key.pem", "/server/tls.pem"}};
  for (const auto& [file, other] : cases) {
    const std::string good = ReadText(enroll() + "/" + file);
    WriteText(enroll() + "/" + file, ReadText(root() + other));
    const auto kit = EnrollmentKit::Load(enroll(), kNow);
    EXPECT_TRUE(absl::IsPermissionDenied(kit.status())) << kit.status();
    EXPECT_THAT(std::string(kit.status().message()), HasSubstr(file));
    WriteText(enroll() + "/" + file, good);
  }
  EXPECT_TRUE(EnrollmentKit::Load(enroll(), kNow).ok());
  EXPECT_FALSE(EnrollmentKit::Load(root() + "/server", kNow).ok());
}

TEST_F(EnrollmentKitTest, DamagedListsAreErrors) {
  const EnrollmentKit kit = OpenEnroll();
  for (const char* text :
       {"", "{}", "[]", "{\"schema_version\":2,\"tokens\":3}",
        "{\"schema_version\":2,\"tokens\":[{\"name\":\"a\",\"sha256\":\"00\","
        "\"expires_ms\":1}]}",
        "{\"schema_version\":2,\"tokens\":[7]}"}) {
    WriteText(enroll() + "/tokens.json", text);
    EXPECT_FALSE(kit.ReadTokens().ok()) << text;
  }
  for (const char* text :
       {"", "{\"schema_version\":2,\"expires_ms\":{\"a\":\"b\"}}"}) {
    WriteText(enroll() + "/certificates.json", text);
    EXPECT_FALSE(kit.ReadExpiries().ok()) << text;
  }
}

}  // namespace
}  // namespace edgetune
