// R1: a coordinator that lies about who is in the cohort, over mutual TLS,
// against the real client: it leaves with the code of the design's section 6
// before a share exists. tests/privacy_secagg tries many more lies without the
// wire.

#include <gmock/gmock.h>

#include "base/units.h"
#include "privacy/secagg/encoding.h"
#include "tests/secagg/lying_coordinator.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kVictim;
using testing::LyingCoordinator;
using testing::TlsFleet;
using Body = LyingCoordinator::Body;

// The keys of an entry as its own member would lie about them.
void SignAs(const LyingCoordinator& world, int index, v1::Cohort& cohort) {
  v1::CohortEntry& entry = *cohort.mutable_entries(index);
  v1::AdvertiseKeys keys;
  keys.set_c_pk(entry.c_pk());
  keys.set_s_pk(entry.s_pk());
  keys.set_nonce(entry.nonce());
  const TlsFleet::Member& member = world.fleet.members[index];
  entry.set_signature(
      member.identity
          .Sign(secagg::AdvertiseBytes(world.manifest(), member.id, keys))
          .value());
}

struct CohortLie {
  const char* name;
  v1::AbortCode code;
  std::function<void(LyingCoordinator&, v1::Cohort&)> tell;
};

class EvilCohortTest : public ::testing::TestWithParam<CohortLie> {};

// A client that leaves tells the code, and the reason for people names it.
void ExpectLeft(const LyingCoordinator::Fate& fate, v1::AbortCode code) {
  EXPECT_EQ(fate.code, code) << v1::AbortCode_Name(fate.code);
  EXPECT_THAT(fate.said, ElementsAre(Body::kAdvertise, Body::kAbort));
  ASSERT_TRUE(fate.declined.has_value());
  EXPECT_EQ(fate.declined->reason(), v1::Declined::REFUSED);
  EXPECT_THAT(fate.declined->detail(), HasSubstr(v1::AbortCode_Name(code)));
}

TEST_P(EvilCohortTest, A8LieEndsTheSessionBeforeAnyShare) {
  LyingCoordinator world;
  world.to_member = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim && message.has_cohort()) {
      GetParam().tell(world, *message.mutable_cohort());
    }
    return true;
  };
  world.MakeClient().Start();
  ExpectLeft(world.Play(), GetParam().code);
}

const CohortLie kLies[] = {
    {"SwappedSealingKeys", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(2)->mutable_c_pk()->swap(
           *c.mutable_entries(3)->mutable_c_pk());
     }},
    {"SwappedMaskKeys", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(2)->mutable_s_pk()->swap(
           *c.mutable_entries(3)->mutable_s_pk());
     }},
    {"UnsignedKeys", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(3)->set_signature(std::string(64, '\0'));
     }},
    {"SignatureOfAnotherMember", v1::BAD_SIGNATURE,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(3)->set_signature(c.entries(2).signature());
     }},
    {"OwnEntryMissing", v1::COHORT_INVALID,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries()->DeleteSubrange(kVictim, 1);
     }},
    {"OwnKeyChanged", v1::COHORT_INVALID,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(kVictim)->set_s_pk(std::string(32, 'k'));
     }},
    {"DuplicateKey", v1::DUP_KEY,
     [](LyingCoordinator& world, v1::Cohort& c) {
       c.mutable_entries(3)->set_c_pk(c.entries(2).c_pk());
       SignAs(world, 3, c);
     }},
    {"UnsortedIds", v1::COHORT_INVALID,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries()->SwapElements(3, 4);
     }},
    {"BelowTheSmallestCohort", v1::COHORT_SIZE,
     [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries()->DeleteSubrange(3, 2);
     }},
    {"AboveTheLargestCohort", v1::COHORT_SIZE,
     [](LyingCoordinator&, v1::Cohort& c) { *c.add_entries() = c.entries(4); }},
    {"SealingKeyOfLowOrder", v1::COHORT_INVALID,
     [](LyingCoordinator& world, v1::Cohort& c) {
       c.mutable_entries(3)->set_c_pk(std::string(32, '\0'));
       SignAs(world, 3, c);
     }},
    // Order 8: https://cr.yp.to/ecdh.html, "validate".
    {"MaskKeyOfLowOrder", v1::COHORT_INVALID,
     [](LyingCoordinator& world, v1::Cohort& c) {
       c.mutable_entries(3)->set_s_pk(
           FromHex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd8662051"
                   "65f49b800")
               .value());
       SignAs(world, 3, c);
     }},
    {"KeyOfAnotherLength", v1::LENGTH, [](LyingCoordinator&, v1::Cohort& c) {
       c.mutable_entries(3)->mutable_c_pk()->pop_back();
     }}};

INSTANTIATE_TEST_SUITE_P(A8, EvilCohortTest, ::testing::ValuesIn(kLies),
                         [](const auto& info) { return info.param.name; });

TEST(EvilCohortTest, A8AndA13ARevokedMemberEndsTheSession) {
  LyingCoordinator world({.revoked = {3}});
  world.MakeClient().Start();
  ExpectLeft(world.Play(), v1::BAD_ROSTER);
}

TEST(EvilCohortTest, A8ACohortBelowThePlansSmallestCohortEndsTheSession) {
  LyingCoordinator world;
  world.run.plan.mutable_secagg()->set_n_min(5);
  world.to_member = [](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim && message.has_cohort()) {
      message.mutable_cohort()->mutable_entries()->RemoveLast();
    }
    return true;
  };
  world.MakeClient().Start();
  ExpectLeft(world.Play(), v1::COHORT_SIZE);
}

TEST(EvilCohortTest, A13UnenrolledMembersEndTheSession) {
  LyingCoordinator world({.unenrolled = {0, 2, 4}});
  world.MakeClient().Start();
  ExpectLeft(world.Play(), v1::BAD_ROSTER);
}

TEST(EvilCohortTest, A11AnotherManifestForHalfOfTheCohortEndsTheSession) {
  LyingCoordinator world;
  world.other_manifest = {{3, secagg::ManifestDigest("another")},
                          {4, secagg::ManifestDigest("another")}};
  world.MakeClient().Start();
  ExpectLeft(world.Play(), v1::BAD_SIGNATURE);
}

// The secrets of a session do not outlive its manifest.
TEST(EvilCohortTest, A8ACoordinatorThatFallsSilentIsLeft) {
  LyingCoordinator world;
  world.to_member = [](uint32_t index, v1::SecAggServerMessage&) {
    return index != kVictim;
  };
  world.MakeClient().Start();
  world.Hear({v1::ClientMessage::kHello});
  testing::Papers papers = world.MakePapers();
  papers.manifest.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(absl::Now() + absl::Seconds(2)));
  ExpectLeft(world.Play(papers.Sign()), v1::DEADLINE);
}

// Nothing above fails because nothing works.
TEST(EvilCohortTest, AnHonestSessionEndsWithASum) {
  LyingCoordinator world;
  world.MakeClient().Start();
  const LyingCoordinator::Fate fate = world.Play();
  EXPECT_TRUE(fate.committed);
  EXPECT_EQ(fate.code, v1::ABORT_UNSPECIFIED);
  EXPECT_THAT(fate.said,
              ElementsAre(Body::kAdvertise, Body::kShares, Body::kAck,
                          Body::kInput, Body::kSurvivors, Body::kUnmask));
}

}  // namespace
}  // namespace edgetune
