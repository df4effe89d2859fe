// A coordinator that lies about the cohort, against the real client: every lie
// ends its session with the code of the design's section 6 (R1), before a
// single share exists.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Body = v1::SecAggClientMessage;

const Digest& ManifestOfFive() {
  static const Digest manifest = Harness(FleetOfFive(), Five()).manifest;
  return manifest;
}

// The keys of `index` as that member itself would lie about them.
void SignAs(uint32_t index, v1::Cohort& cohort) {
  SignEntry(FleetOfFive().identities[index], ManifestOfFive(),
            *cohort.mutable_entries(static_cast<int>(index)));
}
v1::CohortEntry& Own(v1::Cohort& cohort) {
  return *cohort.mutable_entries(kVictim);
}
v1::CohortEntry& Other(v1::Cohort& cohort) {
  return *cohort.mutable_entries(3);
}

using CohortLie = Lie<v1::Cohort>;
class SecAggCohortTest : public ::testing::TestWithParam<CohortLie> {};

TEST_P(SecAggCohortTest, A8ALieEndsTheSessionBeforeAnyShare) {
  Harness session(FleetOfFive(), Five());
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (message.has_cohort()) GetParam().tell(*message.mutable_cohort());
      });
  EXPECT_EQ(fate.code, GetParam().code) << fate.detail;
  EXPECT_THAT(fate.sent, ElementsAre(Body::kAbort));
}

INSTANTIATE_TEST_SUITE_P(
    Keys, SecAggCohortTest,
    ::testing::Values(
        CohortLie{"SwappedSealingKeys", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) {
                    c.mutable_entries(2)->mutable_c_pk()->swap(
                        *c.mutable_entries(3)->mutable_c_pk());
                  }},
        CohortLie{"SwappedMaskKeys", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) {
                    c.mutable_entries(2)->mutable_s_pk()->swap(
                        *c.mutable_entries(3)->mutable_s_pk());
                  }},
        CohortLie{"ForeignSealingKey", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) { Flip(*Other(c).mutable_c_pk()); }},
        CohortLie{"ForeignMaskKey", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) { Flip(*Other(c).mutable_s_pk()); }},
        CohortLie{"ForeignNonce", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) { Flip(*Other(c).mutable_nonce()); }},
        CohortLie{"Unsigned", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) {
                    Other(c).set_signature(std::string(64, '\0'));
                  }},
        CohortLie{"SignedByAnother", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) {
                    SignEntry(FleetOfFive().identities[2], ManifestOfFive(),
                              Other(c));
                  }},
        CohortLie{"SignedForAnotherManifest", v1::BAD_SIGNATURE,
                  [](v1::Cohort& c) {
                    SignEntry(FleetOfFive().identities[3], Digest{}, Other(c));
                  }},
        CohortLie{"OneSealingKeyTwice", v1::DUP_KEY,
                  [](v1::Cohort& c) {
                    Other(c).set_c_pk(c.entries(2).c_pk());
                    SignAs(3, c);
                  }},
        CohortLie{"OneMaskKeyTwice", v1::DUP_KEY,
                  [](v1::Cohort& c) {
                    Other(c).set_s_pk(c.entries(2).s_pk());
                    SignAs(3, c);
                  }},
        CohortLie{"OneKeyForBothUses", v1::DUP_KEY,
                  [](v1::Cohort& c) {
                    Other(c).set_s_pk(c.entries(3).c_pk());
                    SignAs(3, c);
                  }},
        CohortLie{"OurKeyAtAnother", v1::DUP_KEY,
                  [](v1::Cohort& c) {
                    Other(c).set_s_pk(Own(c).s_pk());
                    SignAs(3, c);
                  }}),
    NameOf<v1::Cohort>);

INSTANTIATE_TEST_SUITE_P(
    Members, SecAggCohortTest,
    ::testing::Values(
        CohortLie{"OwnEntryMissing", v1::COHORT_INVALID,
                  [](v1::Cohort& c) {
                    c.mutable_entries()->DeleteSubrange(kVictim, 1);
                  }},
        CohortLie{"OwnEntryTwice", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { *c.mutable_entries(2) = Own(c); }},
        CohortLie{"OwnSealingKeyChanged", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { Flip(*Own(c).mutable_c_pk()); }},
        CohortLie{"OwnMaskKeyChanged", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { Flip(*Own(c).mutable_s_pk()); }},
        CohortLie{"OwnNonceChanged", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { Flip(*Own(c).mutable_nonce()); }},
        CohortLie{"OwnSignatureChanged", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { Flip(*Own(c).mutable_signature()); }},
        CohortLie{"OwnIdentityChanged", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { Flip(*Own(c).mutable_identity_key()); }},
        CohortLie{
            "Unsorted", v1::COHORT_INVALID,
            [](v1::Cohort& c) { c.mutable_entries()->SwapElements(3, 4); }},
        CohortLie{"AnotherTwice", v1::COHORT_INVALID,
                  [](v1::Cohort& c) { *c.mutable_entries(4) = Other(c); }},
        CohortLie{
            "TooFew", v1::COHORT_SIZE,
            [](v1::Cohort& c) { c.mutable_entries()->DeleteSubrange(3, 2); }},
        CohortLie{"None", v1::COHORT_SIZE,
                  [](v1::Cohort& c) { c.clear_entries(); }},
        CohortLie{"TooMany", v1::COHORT_SIZE,
                  [](v1::Cohort& c) { *c.add_entries() = c.entries(4); }},
        CohortLie{"AMillion", v1::COHORT_SIZE,
                  [](v1::Cohort& c) {
                    for (int i = 0; i < 1'000'000; ++i) c.add_entries();
                  }},
        CohortLie{"AnotherIdentity", v1::BAD_ROSTER,
                  [](v1::Cohort& c) {
                    Other(c).set_identity_key(
                        FleetOfFive().foreign_key.public_key().raw());
                    SignEntry(FleetOfFive().foreign_key, ManifestOfFive(),
                              Other(c));
                  }},
        CohortLie{
            "AnotherId", v1::BAD_ROSTER,
            [](v1::Cohort& c) { Other(c).mutable_client_id()->back() ^= 1; }},
        CohortLie{"AnotherTimeOfEnrolment", v1::BAD_ROSTER,
                  [](v1::Cohort& c) { Other(c).set_enrolled_ms(1); }},
        CohortLie{"AnotherLeaf", v1::BAD_ROSTER,
                  [](v1::Cohort& c) { Other(c).set_leaf_index(2); }},
        CohortLie{"LeafOutsideTheTree", v1::BAD_ROSTER,
                  [](v1::Cohort& c) { Other(c).set_leaf_index(~0ull); }},
        CohortLie{"AnotherProof", v1::BAD_ROSTER,
                  [](v1::Cohort& c) { Flip(*Other(c).mutable_proof(0)); }},
        CohortLie{"NoProof", v1::BAD_ROSTER,
                  [](v1::Cohort& c) { Other(c).clear_proof(); }}),
    NameOf<v1::Cohort>);

INSTANTIATE_TEST_SUITE_P(
    Lengths, SecAggCohortTest,
    ::testing::Values(
        CohortLie{
            "Id", v1::LENGTH,
            [](v1::Cohort& c) { Other(c).mutable_client_id()->pop_back(); }},
        CohortLie{"KeysOfADeadMember", v1::LENGTH,
                  [](v1::Cohort& c) {
                    Other(c).clear_c_pk();
                    Other(c).clear_s_pk();
                  }},
        CohortLie{"SealingKey", v1::LENGTH,
                  [](v1::Cohort& c) { Other(c).mutable_c_pk()->pop_back(); }},
        CohortLie{"MaskKey", v1::LENGTH,
                  [](v1::Cohort& c) { Other(c).mutable_s_pk()->push_back(0); }},
        CohortLie{"Nonce", v1::LENGTH,
                  [](v1::Cohort& c) { Other(c).clear_nonce(); }},
        CohortLie{
            "Signature", v1::LENGTH,
            [](v1::Cohort& c) { Other(c).mutable_signature()->pop_back(); }},
        CohortLie{"Identity", v1::LENGTH,
                  [](v1::Cohort& c) {
                    Other(c).mutable_identity_key()->push_back(0);
                  }},
        CohortLie{"Sibling", v1::LENGTH,
                  [](v1::Cohort& c) { Other(c).mutable_proof(0)->pop_back(); }},
        CohortLie{"Proof", v1::LENGTH,
                  [](v1::Cohort& c) {
                    for (int i = 0; i < 65; ++i) {
                      Other(c).add_proof(std::string(32, 'x'));
                    }
                  }}),
    NameOf<v1::Cohort>);

// Member 3 itself offers the key.
Fate FateWithKey(const std::string& raw, bool masking) {
  Harness session(FleetOfFive(), Five());
  return FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
    if (!message.has_cohort()) return;
    v1::CohortEntry& entry = Other(*message.mutable_cohort());
    *(masking ? entry.mutable_s_pk() : entry.mutable_c_pk()) = raw;
    SignAs(3, *message.mutable_cohort());
  });
}

TEST(SecAggCohortTest, A8KeysOfLowOrderAreRefused) {
  for (const std::string& raw : KeysOfLowOrder()) {
    for (const bool masking : {false, true}) {
      const Fate fate = FateWithKey(raw, masking);
      EXPECT_EQ(fate.code, v1::COHORT_INVALID);
      EXPECT_THAT(fate.sent, ElementsAre(Body::kAbort));
    }
  }
}

TEST(SecAggCohortTest, A8TheSmallestCohortIsCompiledIn) {
  Harness::Options options = Five();
  options.n = 3;
  options.shape.n_min = 1;
  Harness session(FleetOfFive(), options);
  session.Run();
  for (const Harness::Client& client : session.clients) {
    EXPECT_EQ(client.aborted, v1::COHORT_SIZE);
  }
}

TEST(SecAggCohortTest, A8ThePlanMayAskForALargerCohort) {
  Harness::Options options = Five();
  options.shape.n_min = 5;
  Harness session(FleetOfFive(), options);
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (!message.has_cohort()) return;
        message.mutable_cohort()->mutable_entries()->RemoveLast();
      });
  EXPECT_EQ(fate.code, v1::COHORT_SIZE);
}

TEST(SecAggCohortTest, A8TheLargestCohortIsCompiledIn) {
  Harness::Options options = Five();
  options.shape.n_max = 1000;
  Harness session(FleetOfFive(), options);
  const Fate fate =
      FateOfVictim(session, [&](v1::SecAggServerMessage& message) {
        if (!message.has_cohort()) return;
        v1::Cohort& cohort = *message.mutable_cohort();
        while (cohort.entries_size() < 301) {
          *cohort.add_entries() = cohort.entries(4);
        }
      });
  EXPECT_EQ(fate.code, v1::COHORT_SIZE);
}

TEST(SecAggCohortTest, A13UnenrolledKeysEndTheSession) {
  const Fleet fleet({.size = 10, .unenrolled = {2, 3, 5, 6, 7, 9}});
  Harness session(fleet, {});
  session.Run();
  EXPECT_FALSE(session.Committed());
  for (const Harness::Client& client : session.clients) {
    EXPECT_EQ(client.aborted, v1::BAD_ROSTER);
    EXPECT_EQ(client.uploads, 0);
  }
}

TEST(SecAggCohortTest, A13ARevokedMemberEndsTheSession) {
  const Fleet fleet({.size = 10, .revoked = {4}});
  Harness session(fleet, {});
  session.Run();
  for (uint32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(session.clients[i].aborted, v1::BAD_ROSTER);
  }
}

TEST(SecAggCohortTest, A11AnotherManifestForSomeEndsTheSession) {
  Harness session(FleetOfFive(), Five());
  // The coordinator showed members 3 and 4 another manifest, and signs nothing
  // for them: their own signatures tell.
  session.cohort_made = [&](std::vector<v1::CohortEntry>& cohort) {
    for (const uint32_t i : {3, 4}) {
      SignEntry(FleetOfFive().identities[i], ManifestDigest("other"),
                cohort[i]);
    }
  };
  session.Run();
  EXPECT_FALSE(session.Committed());
  for (const uint32_t i : {0, 1, 2}) {
    EXPECT_EQ(session.clients[i].aborted, v1::BAD_SIGNATURE);
  }
}

}  // namespace
}  // namespace edgetune::secagg
