#include "privacy/identity/invitation.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <string>

#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/certificate.h"
#include "tests/privacy_identity/fleet_kits.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class InvitationTest : public FleetKits {
 protected:
  std::string directory() const { return root() + "/invitations/later"; }
  std::string kit() const { return root() + "/new-kit"; }
  Invitation Load() const { return LoadInvitation(directory(), kNow).value(); }
  absl::StatusOr<std::string> Certify(const std::string& name,
                                      const PendingKit& pending) const {
    return OpenEnroll().Certify(name, pending.request_der, kNow);
  }
};

TEST_F(InvitationTest, HoldsATokenWhoseHashTheAuthorityKnows) {
  const Invitation invitation = Load();
  EXPECT_EQ(invitation.name, "later");
  EXPECT_EQ(invitation.server_address, "localhost:7443");
  EXPECT_EQ(invitation.enroll_address, "localhost:7444");
  EXPECT_EQ(invitation.token.size(), 32u);
  const auto tokens = OpenEnroll().ReadTokens();
  ASSERT_EQ(tokens->size(), 1u);
  EXPECT_EQ(tokens->at(0).sha256, Sha256Bytes(invitation.token));
  EXPECT_EQ(tokens->at(0).expires, invitation.expires);
  EXPECT_EQ(invitation.expires, kNow + absl::Hours(24 * 7));
}

TEST_F(InvitationTest, TheAuthorityDoesNotKeepTheToken) {
  const std::string token = Load().token;
  for (const auto& entry : fs::recursive_directory_iterator(enroll())) {
    const std::string text = ReadText(entry.path());
    EXPECT_EQ(text.find(token), std::string::npos) << entry.path();
    EXPECT_EQ(text.find(ToHex(token)), std::string::npos) << entry.path();
  }
}

TEST_F(InvitationTest, BecomesAKitWhoseKeysNobodyElseHeld) {
  auto pending = PrepareKit(kit() + "/", "later");
  ASSERT_TRUE(pending.ok()) << pending.status();
  EXPECT_FALSE(fs::exists(kit()));
  const auto certificate = Certify("later", *pending);
  ASSERT_TRUE(certificate.ok());
  const absl::Status done = FinishKit(Load(), *certificate, kNow, &*pending);
  ASSERT_TRUE(done.ok()) << done;
  const auto loaded = LoadKit(kit(), PartyRole::kDevice, kNow);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->identity.id, "later");
  EXPECT_EQ(loaded->enroll_address, "localhost:7444");
  EXPECT_EQ(SigningKey::FromPem(*loaded->identity_key_pem)->public_key().raw(),
            pending->identity_key.public_key().raw());
  EXPECT_TRUE(pending->key_pem.empty());
  EXPECT_FALSE(fs::exists(kit() + ".enrolling"));
}

TEST_F(InvitationTest, FilesOfTheNewKitArePrivate) {
  auto pending = PrepareKit(kit(), "later");
  ASSERT_TRUE(
      FinishKit(Load(), *Certify("later", *pending), kNow, &*pending).ok());
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kit())) {
    struct stat info;
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 4);
}

TEST_F(InvitationTest, ASecondTryUsesTheKeysOfTheFirst) {
  const auto first = PrepareKit(kit(), "later");
  const auto second = PrepareKit(kit(), "later");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->request_der, second->request_der);
  EXPECT_EQ(first->key_pem, second->key_pem);
  EXPECT_EQ(first->identity_key.public_key().raw(),
            second->identity_key.public_key().raw());
}

TEST_F(InvitationTest, AnAnswerThatDoesNotFitLeavesNoKit) {
  auto pending = PrepareKit(kit(), "later");
  ASSERT_TRUE(pending.ok());
  const std::string good = *Certify("later", *pending);
  const std::string other_name = *Certify("d1", *pending);
  const std::string other_key = *OpenEnroll().Certify(
      "later", MakeSigningRequest("x")->request_der, kNow);
  for (const std::string& bad :
       {other_name, other_key, std::string("none"), std::string()}) {
    EXPECT_FALSE(FinishKit(Load(), bad, kNow, &*pending).ok());
    EXPECT_FALSE(fs::exists(kit()));
  }
  EXPECT_TRUE(FinishKit(Load(), good, kNow, &*pending).ok());
}

TEST_F(InvitationTest, AKitThatIsThereIsNeverReplaced) {
  const auto pending = PrepareKit(root() + "/devices/d1", "d1");
  EXPECT_TRUE(absl::IsAlreadyExists(pending.status()));
  EXPECT_EQ(ExitCodeOf(pending.status()), 4);
  EXPECT_TRUE(absl::IsAlreadyExists(WriteInvitation(directory(), Load())));
}

TEST_F(InvitationTest, ExpiredOnesSaySo) {
  const absl::Time end = kNow + absl::Hours(24 * 7);
  EXPECT_TRUE(LoadInvitation(directory(), end - absl::Seconds(1)).ok());
  const auto late = LoadInvitation(directory(), end);
  EXPECT_TRUE(absl::IsFailedPrecondition(late.status()));
  EXPECT_EQ(KindOf(late.status()), ErrorKind::kIdentity);
  EXPECT_THAT(HintOf(late.status()), HasSubstr("new invitation"));
}

TEST_F(InvitationTest, DamagedOnesAreRefused) {
  const std::string path = directory() + "/invitation.json";
  const std::string good = ReadText(path);
  const std::pair<const char*, const char*> changes[] = {
      {"\"token\": \"", "\"token\": \"!"},
      {"\"token\": \"", "\"token\": \"AAAA"},
      {"\"token\"", "\"tokens\""},
      {"\"expires_ms\"", "\"expires\""},
      {"\"device\"", "\"operator\""},
      {"\"later\"", "\"../up\""},
      {"\"enroll\"", "\"enrol\""},
      {"\"roster_keys\"", "\"keys\""},
      {"{", "["},
  };
  for (const auto& [what, with] : changes) {
    std::string bad = good;
    const size_t at = bad.find(what);
    ASSERT_NE(at, std::string::npos);
    WriteText(path, bad.replace(at, std::string(what).size(), with));
    const auto loaded = LoadInvitation(directory(), kNow);
    EXPECT_EQ(KindOf(loaded.status()), ErrorKind::kIdentity) << what;
    EXPECT_FALSE(loaded.ok()) << what;
  }
}

TEST_F(InvitationTest, NamesAreThoseOfParties) {
  const EnrollmentKit kit = OpenEnroll();
  EXPECT_FALSE(MakeInvitation(kit.kit(), "Not A Name", kNow).ok());
  const auto one = MakeInvitation(kit.kit(), "a", kNow);
  const auto two = MakeInvitation(kit.kit(), "a", kNow);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(one->invitation.token, two->invitation.token);
}

TEST(ProofBytesTest, EqualAnIndependentImplementation) {
  // Python: b"".join(struct.pack(">I", len(x)) + x for x in fields), SHA-256
  // by hashlib (make_roster_vectors.py).
  const std::string token(32, 't'), key(32, 'k');
  EXPECT_EQ(ToHex(Sha256(EnrollProofBytes(token, "request", key))),
            "303bbf60777f138fc469c18a22cfb05163b1bfb9cda00405b92cb2834eb2a1b1");
  EXPECT_EQ(ToHex(Sha256(RenewProofBytes("d1", "request"))),
            "7059cd6d8da321e7b7211b2ada6ec0b10d02ed2434034bd5d3f766fd2a09240c");
}

}  // namespace
}  // namespace edgetune
