// R0 on the device: documents that a lying coordinator, or the thief of one
// key, may show. Each is declined with the code of the design's section 6
// before anything is fetched, trained or signed.

#include <gmock/gmock.h>

#include "tests/secagg/lying_coordinator.h"

namespace edgetune {
namespace {

using testing::Expire;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LyingCoordinator;
using testing::Papers;

void ExpectRefused(LyingCoordinator& world, const v1::Assignment& assignment,
                   v1::AbortCode code) {
  const v1::Declined declined = world.ExpectDeclined(assignment);
  EXPECT_EQ(declined.reason(), v1::Declined::REFUSED);
  EXPECT_THAT(declined.detail(), HasSubstr(v1::AbortCode_Name(code)));
}

// Signs a document as one of another use, as a thief of that key could.
v1::Envelope Resign(const v1::Envelope& envelope, DocumentUse use,
                    const SigningKey& key) {
  return SignDocument(use, envelope.payload(), key).value();
}

struct PaperLie {
  const char* name;
  v1::AbortCode code;
  std::function<void(Papers&, const testing::TestKeys&)> write;
  // After signing.
  std::function<void(v1::Assignment&, const testing::TestKeys&)> change = {};
  // The round before; a device remembers its chain of adapters.
  uint32_t seen = 1;
};

class EvilPapersTest : public ::testing::TestWithParam<PaperLie> {};

// The truth in the same place is accepted, before and after.
TEST_P(EvilPapersTest, LieIsDeclined) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.Start();
  world.ExpectAccepted(world.MakePapers(GetParam().seen, 0).Sign());
  Papers papers = world.MakePapers(1, 1);
  if (GetParam().write) GetParam().write(papers, world.fleet.keys);
  v1::Assignment assignment = papers.Sign();
  if (GetParam().change) GetParam().change(assignment, world.fleet.keys);
  ExpectRefused(world, assignment, GetParam().code);
  world.ExpectAccepted(world.MakePapers(1, 2).Sign());
}

using Keys = testing::TestKeys;

const PaperLie kRosterLies[] = {
    {"Expired", v1::BAD_ROSTER,
     [](Papers& p, const Keys&) { Expire(p.head.mutable_header()); }},
    {"SignedByTheRoundKey", v1::BAD_ROSTER,
     [](Papers& p, const Keys& keys) { p.head_key = &keys.round; }},
    {"InTheRoundRole",
     v1::BAD_ROSTER,
     {},
     [](v1::Assignment& a, const Keys& keys) {
       *a.mutable_roster() = Resign(a.roster(), DocumentUse::kCard, keys.round);
     }},
    {"Changed",
     v1::BAD_ROSTER,
     {},
     [](v1::Assignment& a, const Keys&) {
       a.mutable_roster()->mutable_payload()->back() ^= 1;
     }},
    {"SignatureChanged",
     v1::BAD_ROSTER,
     {},
     [](v1::Assignment& a, const Keys&) {
       std::string& signature =
           *a.mutable_roster()->mutable_signatures(0)->mutable_signature();
       signature.back() ^= 1;
     }},
    {"Missing",
     v1::BAD_ROSTER,
     {},
     [](v1::Assignment& a, const Keys&) { a.clear_roster(); }},
    {"AnotherRootThanTheManifests", v1::BAD_ROSTER,
     [](Papers& p, const Keys&) { p.head.set_root(std::string(32, 'r')); }},
    {"AnotherVersionThanTheManifests", v1::BAD_ROSTER,
     [](Papers& p, const Keys&) { p.head.set_version(2); }},
    {"AnotherSizeThanTheManifests", v1::BAD_ROSTER,
     [](Papers& p, const Keys&) { p.head.set_leaf_count(99); }}};

INSTANTIATE_TEST_SUITE_P(A13Roster, EvilPapersTest,
                         ::testing::ValuesIn(kRosterLies),
                         [](const auto& info) { return info.param.name; });

const PaperLie kRoleLies[] = {
    {"PlanSignedByTheRoundKey", v1::BAD_SIGNATURE,
     [](Papers& p, const Keys& keys) { p.plan_key = &keys.round; }},
    {"PlanInTheRoundRole",
     v1::BAD_SIGNATURE,
     {},
     [](v1::Assignment& a, const Keys& keys) {
       *a.mutable_plan() = Resign(a.plan(), DocumentUse::kManifest, keys.round);
     }},
    {"ManifestSignedByTheReleaseKey", v1::BAD_SIGNATURE,
     [](Papers& p, const Keys& keys) { p.manifest_key = &keys.release; }},
    {"CardPassedOffAsAManifest",
     v1::BAD_SIGNATURE,
     {},
     [](v1::Assignment& a, const Keys& keys) {
       *a.mutable_manifest() =
           Resign(a.manifest(), DocumentUse::kCard, keys.round);
     }},
    {"CardSignedByTheReleaseKey", v1::BAD_SIGNATURE,
     [](Papers& p, const Keys& keys) { p.card_key = &keys.release; }},
    {"OverrideSignedByTheRoundKey", v1::BAD_SIGNATURE,
     [](Papers& p, const Keys& keys) {
       p.overrides = {MakeOverride(p, 1)};
       p.override_key = &keys.round;
     }}};

INSTANTIATE_TEST_SUITE_P(A14Role, EvilPapersTest,
                         ::testing::ValuesIn(kRoleLies),
                         [](const auto& info) { return info.param.name; });

const PaperLie kOldLies[] = {
    {"PlanExpired", v1::REPLAY,
     [](Papers& p, const Keys&) {
       Expire(p.plan.mutable_header());
       p.Link();
     }},
    {"ManifestExpired", v1::REPLAY,
     [](Papers& p, const Keys&) {
       v1::MaskingTerms& terms = *p.manifest.mutable_masking();
       Expire(p.manifest.mutable_header());
       terms.set_unmask_by_ms(p.manifest.deadline_ms());
     }},
    {"SameAttemptAgain", v1::REPLAY,
     [](Papers& p, const Keys&) { p.manifest.set_attempt(0); }},
    {"LowerRound", v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.cards.pop_back();
       p.manifest.set_round(0);
       p.manifest.set_attempt(9);
       p.Link();
     }},
    {"RolledBackAdapter", v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.cards[1].set_weight_sum(5);
       p.Link();
     }},
    {"CardOfAnotherRun",
     v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.cards[1].set_plan_digest(std::string(32, 'p'));
       p.manifest.set_prev_card_digest(
           Sha256Bytes(p.cards[1].SerializeAsString()));
     },
     {},
     0},
    {"CardWithoutItsParent",
     v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.cards[1].set_prev_card_digest(std::string(32, 'p'));
       p.manifest.set_prev_card_digest(
           Sha256Bytes(p.cards[1].SerializeAsString()));
     },
     {},
     0},
    {"CardOfAnotherVersion",
     v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.cards[1].set_version(2);
       p.manifest.set_prev_card_digest(
           Sha256Bytes(p.cards[1].SerializeAsString()));
     },
     {},
     0},
    {"ChainThatEndsEarly",
     v1::REPLAY,
     {},
     [](v1::Assignment& a, const Keys&) { a.mutable_cards()->RemoveLast(); }},
    {"ChainMissing",
     v1::REPLAY,
     {},
     [](v1::Assignment& a, const Keys&) { a.clear_cards(); }},
    {"AdapterThatIsNotTheHead", v1::REPLAY,
     [](Papers& p, const Keys&) {
       p.manifest.set_adapter_digest(std::string(32, 'a'));
     }},
    {"HeadThatTheManifestDoesNotName", v1::REPLAY, [](Papers& p, const Keys&) {
       p.manifest.set_prev_card_digest(std::string(32, 'p'));
     }}};

INSTANTIATE_TEST_SUITE_P(A14Old, EvilPapersTest, ::testing::ValuesIn(kOldLies),
                         [](const auto& info) { return info.param.name; });

const PaperLie kPolicyLies[] = {
    {"NoMaskingTerms", v1::MANIFEST_POLICY,
     [](Papers& p, const Keys&) { p.manifest.clear_masking(); }},
    {"AnotherProtocolVersion", v1::MANIFEST_POLICY,
     [](Papers& p, const Keys&) {
       p.manifest.mutable_masking()->set_protocol_version(2);
     }},
    {"APlanThatCouldWrap", v1::MANIFEST_POLICY,
     [](Papers& p, const Keys&) {
       p.plan.mutable_secagg()->set_bits(12);
       p.Link();
     }},
    {"CoordinatesBesideThePlan", v1::MANIFEST_POLICY,
     [](Papers& p, const Keys&) { p.manifest.set_coordinates(1); }},
    {"AnotherPlan", v1::MANIFEST_POLICY,
     [](Papers& p, const Keys&) {
       p.manifest.set_plan_digest(std::string(32, 'p'));
     }},
    {"DeadlinesOutOfOrder", v1::MANIFEST_POLICY, [](Papers& p, const Keys&) {
       v1::MaskingTerms& terms = *p.manifest.mutable_masking();
       terms.set_acks_by_ms(terms.shares_by_ms());
     }}};

INSTANTIATE_TEST_SUITE_P(Policy, EvilPapersTest,
                         ::testing::ValuesIn(kPolicyLies),
                         [](const auto& info) { return info.param.name; });

TEST(EvilPapersTest, A13AnOlderRosterIsDeclined) {
  LyingCoordinator world;
  world.MakeClient().Start();
  Papers papers = world.MakePapers(0, 0);
  papers.head.set_version(5);
  papers.Link();
  world.ExpectAccepted(papers.Sign());
  papers = world.MakePapers(0, 1);
  papers.head.set_version(4);
  papers.Link();
  ExpectRefused(world, papers.Sign(), v1::BAD_ROSTER);
}

TEST(EvilPapersTest, A8ACohortBelowTheDevicesOwnPolicyIsDeclined) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.file.policy.min_cohort = 5;
  client.Start();
  ExpectRefused(world, world.MakePapers().Sign(), v1::MANIFEST_POLICY);
}

TEST(EvilPapersTest, A8APlanInTheClearIsDeclinedByAPolicyThatWantsACohort) {
  LyingCoordinator world;
  world.run.plan.clear_secagg();
  testing::RealClient& client = world.MakeClient();
  client.file.policy.min_cohort = 4;
  client.Start();
  Papers papers = world.MakePapers();
  papers.manifest.clear_masking();
  ExpectRefused(world, papers.Sign(), v1::MANIFEST_POLICY);
}

// One whose kit was made before there were such keys.
TEST(EvilPapersTest, ADeviceWithoutAnIdentityKeyDeclines) {
  LyingCoordinator world;
  testing::RealClient& client = world.MakeClient();
  client.has_identity_key = false;
  client.Start();
  EXPECT_THAT(world.ExpectDeclined(world.MakePapers().Sign()).detail(),
              HasSubstr("identity key"));
}

// Half of the cohort gets another adapter under the same name.
TEST(EvilPapersTest, A11OtherBytesUnderTheAdaptersDigestAreDeclined) {
  LyingCoordinator world;
  world.DamageAdapter();
  testing::RealClient& client = world.MakeClient();
  client.Start();
  const LyingCoordinator::Fate fate = world.Play();
  ASSERT_TRUE(fate.declined.has_value());
  EXPECT_EQ(fate.declined->reason(), v1::Declined::REFUSED);
  EXPECT_THAT(fate.declined->detail(), HasSubstr("MODEL_MISMATCH"));
  EXPECT_THAT(fate.said, IsEmpty());
  EXPECT_EQ(client.engine.trainings, 0);
}

}  // namespace
}  // namespace edgetune
