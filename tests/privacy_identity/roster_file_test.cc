#include "privacy/identity/roster_file.h"

#include <gmock/gmock.h>

#include <string>

#include "base/status.h"
#include "tests/privacy_identity/fleet_kits.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

class RosterFileTest : public FleetKits {
 protected:
  std::string Bytes() const { return ReadText(enroll() + "/roster.pb"); }
  TrustedKeys Keys() const { return OpenEnroll().kit().trusted; }
  static void ExpectRefused(const absl::Status& status, absl::StatusCode code,
                            const std::string& message) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  static RosterGuard Fresh() { return RosterGuard(RosterGuard::Mark()); }
};

TEST_F(RosterFileTest, TheFirstOneNamesTheDevicesMadeHere) {
  const auto roster = ParseRosterFile(Bytes(), Keys(), kNow);
  ASSERT_TRUE(roster.ok()) << roster.status();
  EXPECT_EQ(roster->head.version(), 1u);
  EXPECT_EQ(roster->head.leaf_count(), 2u);
  EXPECT_TRUE(roster->Admits("d1"));
  EXPECT_TRUE(roster->Admits("d2"));
  EXPECT_FALSE(roster->Admits("later"));
  EXPECT_EQ(Bytes(), ReadText(root() + "/server/roster.pb"));
}

TEST_F(RosterFileTest, IdentityKeysAreThoseOfTheKits) {
  const auto roster = ParseRosterFile(Bytes(), Keys(), kNow);
  const auto kit = LoadKit(root() + "/devices/d1", PartyRole::kDevice, kNow);
  ASSERT_TRUE(roster.ok() && kit.ok());
  const auto key = SigningKey::FromPem(*kit->identity_key_pem);
  ASSERT_TRUE(key.ok());
  const auto index = roster->roster.Find(ClientIdOf("d1"));
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(roster->roster.Member(*index).identity_key,
            key->public_key().raw());
}

TEST_F(RosterFileTest, ATornFileIsRefusedWhereverItEnds) {
  const std::string whole = Bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseRosterFile(whole.substr(0, size), Keys(), kNow).ok())
        << size;
  }
  // A directory entry without the blocks behind it, as after a power failure.
  ExpectRefused(
      ParseRosterFile(std::string(whole.size(), '\0'), Keys(), kNow).status(),
      absl::StatusCode::kInvalidArgument, "cannot be parsed");
}

TEST_F(RosterFileTest, EntriesThatTheHeadDoesNotNameAreRefused) {
  v1::RosterFile good;
  ASSERT_TRUE(good.ParseFromString(Bytes()));
  std::vector<v1::RosterFile> bad(4, good);
  bad[0].mutable_entries()->RemoveLast();
  bad[1].mutable_entries(0)->mutable_identity_key()->front() ^= 1;
  bad[2].mutable_entries(0)->set_status(v1::RosterEntry::REVOKED);
  *bad[3].add_entries() = MakeRosterEntry("x", std::string(32, 'k'), kNow);
  for (const v1::RosterFile& file : bad) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ParseRosterFile(file.SerializeAsString(), Keys(), kNow).status()));
  }
}

TEST_F(RosterFileTest, AHeadOfAnotherAuthorityIsRefused) {
  v1::RosterFile file;
  ASSERT_TRUE(file.ParseFromString(Bytes()));
  const SigningKey thief = SigningKey::Generate().value();
  *file.mutable_head() =
      SignDocument(DocumentUse::kRoster, file.head().payload(), thief).value();
  ExpectRefused(
      ParseRosterFile(file.SerializeAsString(), Keys(), kNow).status(),
      absl::StatusCode::kPermissionDenied, "unknown roster key");
}

TEST_F(RosterFileTest, AnExpiredOneIsReadByItsAuthorityAlone) {
  const absl::Time late = kNow + kRosterLife;
  EXPECT_TRUE(
      ParseRosterFile(Bytes(), Keys(), late - absl::Milliseconds(1)).ok());
  ExpectRefused(ParseRosterFile(Bytes(), Keys(), late).status(),
                absl::StatusCode::kFailedPrecondition, "the roster expired");
  EXPECT_TRUE(ParseRosterFile(Bytes(), Keys(), std::nullopt).ok());
}

TEST_F(RosterFileTest, A14AReaderRefusesAnOlderRosterThanItHasSeen) {
  const EnrollmentKit kit = OpenEnroll();
  const PublishedRoster first = kit.ReadRoster().value();
  const PublishedRoster second = SetStatus(kit, v1::RosterEntry::REVOKED);
  RosterGuard guard = Fresh();
  ASSERT_TRUE(guard.Accept(first.envelope, Keys(), kNow).ok());
  ASSERT_TRUE(guard.Accept(first.envelope, Keys(), kNow).ok());
  ASSERT_TRUE(guard.Accept(second.envelope, Keys(), kNow).ok());
  EXPECT_EQ(guard.mark().version, 2u);
  // Also after a restart, from the mark that it kept.
  RosterGuard restarted(guard.mark());
  ExpectRefused(restarted.Accept(first.envelope, Keys(), kNow).status(),
                absl::StatusCode::kFailedPrecondition, "older than version 2");
  EXPECT_EQ(restarted.mark().version, 2u);
  EXPECT_TRUE(restarted.Accept(second.envelope, Keys(), kNow).ok());
}

TEST_F(RosterFileTest, A14AReaderRefusesTwoRostersOfOneVersion) {
  const PublishedRoster one = OpenEnroll().ReadRoster().value();
  v1::RosterHead other = one.head;
  other.set_root(std::string(32, 'r'));
  const SigningKey key =
      SigningKey::FromPem(ReadText(enroll() + "/roster.key.pem")).value();
  const auto forged =
      SignDocument(DocumentUse::kRoster, other.SerializeAsString(), key);
  RosterGuard guard = Fresh();
  ASSERT_TRUE(guard.Accept(one.envelope, Keys(), kNow).ok());
  ExpectRefused(guard.Accept(*forged, Keys(), kNow).status(),
                absl::StatusCode::kFailedPrecondition, "two different rosters");
}

TEST_F(RosterFileTest, A14AnExpiredOrForeignHeadLeavesTheMark) {
  const PublishedRoster one = OpenEnroll().ReadRoster().value();
  RosterGuard guard = Fresh();
  EXPECT_FALSE(guard.Accept(one.envelope, Keys(), kNow + kRosterLife).ok());
  TrustedKeys others = Keys();
  others.roster = others.round;
  EXPECT_FALSE(guard.Accept(one.envelope, others, kNow).ok());
  EXPECT_EQ(guard.mark().version, 0u);
}

}  // namespace
}  // namespace edgetune
