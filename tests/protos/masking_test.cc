#include "protos/masking.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/protos/refusals.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(MaskedPlanTest, IsAccepted) {
  EXPECT_TRUE(CheckPlan(MaskedPlan()).ok()) << CheckPlan(MaskedPlan());
}

TEST(MaskedPlanTest, WhatCannotBeMaskedIsRefusedWithTheReason) {
  ExpectRefused(
      MaskedPlan(),
      {
          {"a smaller cohort cannot hide a single update",
           [](auto& p) {
             p.mutable_rounds()->set_cohort(3);
             p.mutable_rounds()->set_quorum(3);
           }},
          {"secagg.n_min", [](auto& p) { p.mutable_secagg()->set_n_min(3); }},
          {"secagg.n_min", [](auto& p) { p.mutable_secagg()->set_n_min(5); }},
          {"16, 20, 24 or 32",
           [](auto& p) { p.mutable_secagg()->set_bits(8); }},
          {"secagg.bound", [](auto& p) { p.mutable_secagg()->set_bound(0); }},
          {"secagg.bound",  // whose scale is infinite
           [](auto& p) { p.mutable_secagg()->set_bound(5e-315); }},
          {"secagg.group", [](auto& p) { p.mutable_secagg()->set_group(301); }},
          {"secagg.max_contributions",
           [](auto& p) { p.mutable_secagg()->set_max_contributions(2); }},
          {"at least 3 of 4 clients",
           [](auto& p) { p.mutable_rounds()->set_quorum(2); }},
          {"rounds.aggregator",
           [](auto& p) { p.mutable_rounds()->set_aggregator("krum"); }},
          {"at most 1000 under masking",
           [](auto& p) {
             p.mutable_rounds()->set_cohort(1001);
             p.mutable_rounds()->set_quorum(700);
           }},
      });
}

TEST(MaskedPlanTest, AQuorumBelowTwoThirdsOfTheAskedIsRefused) {
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_rounds()->set_cohort(12);
  plan.mutable_rounds()->set_over_select(1.3);  // 16 asked, t = 11
  plan.mutable_rounds()->set_quorum(10);
  EXPECT_THAT(std::string(CheckPlan(plan).message()),
              HasSubstr("at least 11 of 16"));
  plan.mutable_rounds()->set_quorum(11);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

TEST(MaskedPlanTest, GroupsMustHoldTheSmallestCohort) {
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_rounds()->set_cohort(20);
  plan.mutable_rounds()->set_quorum(14);
  plan.mutable_secagg()->set_group(10);
  plan.mutable_secagg()->set_n_min(6);
  EXPECT_THAT(std::string(CheckPlan(plan).message()),
              HasSubstr("at most half of secagg.group"));
  plan.mutable_secagg()->set_n_min(5);
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
}

TEST(MaskedPlanTest, AClearPlanCarriesNoSettingsOfMasking) {
  ExpectRefused(
      ValidPlan(),
      {
          {"secagg.n_min", [](auto& p) { p.mutable_secagg()->set_n_min(4); }},
          {"secagg.bits", [](auto& p) { p.mutable_secagg()->set_bits(32); }},
          {"secagg.bound", [](auto& p) { p.mutable_secagg()->set_bound(1); }},
          {"secagg.group", [](auto& p) { p.mutable_secagg()->set_group(8); }},
          {"secagg.max_contributions",
           [](auto& p) { p.mutable_secagg()->set_max_contributions(1); }},
      });
}

// The table of the design, section 3.
TEST(ThresholdTest, IsTwoThirdsAndOne) {
  const std::pair<uint32_t, uint32_t> table[] = {
      {4, 3},   {8, 6},   {10, 7},   {16, 11},   {20, 14},
      {30, 21}, {50, 34}, {100, 67}, {200, 134}, {300, 201}};
  for (const auto& [n, t] : table) EXPECT_EQ(SecAggThreshold(n), t) << n;
}

TEST(ThresholdTest, LeavesNoRoomForTwoSurvivorSets) {
  for (uint32_t n = 1; n <= 300; ++n) {
    const uint32_t colluders = (n + 2) / 3 - 1;  // ceil(n/3) - 1
    EXPECT_GT(2 * SecAggThreshold(n), n + colluders) << n;
  }
}

TEST(MaskedShapeTest, LanesFollowFromThePlan) {
  const auto train = MaskedShapeOf(MaskedPlan(), 0, v1::RoundManifest::TRAIN);
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_EQ(train->lanes.size(), 4u);
  EXPECT_EQ(train->lanes[0].use, LaneUse::kWeight);
  EXPECT_EQ(train->lanes[2].bound, 32 * 512);  // eval_examples * max_length
  EXPECT_EQ(train->coordinates, 56u);
  EXPECT_EQ(train->size(), 2u + 4 + 56);
  EXPECT_EQ(train->byte_size(), 4u * 62);
  const auto eval = MaskedShapeOf(MaskedPlan(), 3, v1::RoundManifest::EVAL);
  ASSERT_TRUE(eval.ok()) << eval.status();
  EXPECT_EQ(eval->coordinates, 0u);
  EXPECT_EQ(eval->lanes.size(), 2u);
}

TEST(MaskedShapeTest, AGroupIsNoLargerThanTheCohortThatIsAsked) {
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_rounds()->set_cohort(20);
  plan.mutable_rounds()->set_over_select(1.3);
  for (const auto& [group, n_max] :
       {std::pair{8u, 8u}, {26u, 26u}, {300u, 26u}}) {
    plan.mutable_secagg()->set_group(group);
    EXPECT_EQ(MaskedShapeOf(plan, 0, v1::RoundManifest::TRAIN)->n_max, n_max);
  }
}

TEST(MaskedShapeTest, EqualWeightsNeedNoWeightLane) {
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_rounds()->set_weights("equal");
  const auto shape = MaskedShapeOf(plan, 0, v1::RoundManifest::TRAIN);
  ASSERT_EQ(shape->lanes.size(), 3u);
  EXPECT_EQ(shape->lanes[0].use, LaneUse::kNll);
}

TEST(MaskedShapeTest, PacksOddWidthsIntoWholeBytes) {
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_secagg()->set_bits(20);
  // 62 lanes of 20 bits are 1,240 bits.
  EXPECT_EQ(MaskedShapeOf(plan, 0, v1::RoundManifest::TRAIN)->byte_size(),
            155u);
}

// Integers: n_max honest lanes at the bound, each rounded up, stay in the ring.
TEST(MaskedShapeTest, TheScaleLeavesNoWrap) {
  for (const uint32_t bits : {16u, 20u, 24u, 32u}) {
    for (const uint32_t n : {4u, 100u, 300u}) {
      MaskedShape shape;
      shape.bits = bits;
      shape.n_max = n;
      const double step = std::floor(0.25 * shape.ScaleOf(0.25)) + 1;
      EXPECT_LE(n * step, std::ldexp(1.0, static_cast<int>(bits) - 1) - 1);
    }
  }
}

TEST(MaskedShapeTest, ClearPlansAndUnknownRoundsHaveNone) {
  EXPECT_FALSE(MaskedShapeOf(ValidPlan(), 0, v1::RoundManifest::TRAIN).ok());
  EXPECT_FALSE(MaskedShapeOf(MaskedPlan(), 3, v1::RoundManifest::TRAIN).ok());
}

TEST(PlanNotesTest, CoarseRingsAreNamedAndTheDefaultIsSilent) {
  EXPECT_THAT(PlanNotes(MaskedPlan()), IsEmpty());
  EXPECT_THAT(PlanNotes(ValidPlan()), IsEmpty());
  v1::TaskPlan plan = MaskedPlan();
  plan.mutable_secagg()->set_bits(16);
  const auto notes = PlanNotes(plan);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_THAT(notes[0], HasSubstr("weight_cap"));
  EXPECT_THAT(notes[1], HasSubstr("perplexity"));
}

v1::RoundManifest MaskedManifest() {
  v1::RoundManifest manifest = ValidManifest();
  v1::MaskingTerms& terms = *manifest.mutable_masking();
  terms.set_protocol_version(1);
  terms.set_roster_version(1);
  terms.set_roster_root(std::string(32, 'r'));
  terms.set_roster_leaves(4);
  terms.set_nonce(std::string(32, 'n'));
  const int64_t end = manifest.deadline_ms();
  terms.set_keys_by_ms(end - 50);
  terms.set_shares_by_ms(end - 40);
  terms.set_acks_by_ms(end - 30);
  terms.set_input_by_ms(end - 20);
  terms.set_survivors_by_ms(end - 10);
  terms.set_unmask_by_ms(end);
  return manifest;
}

TEST(MaskingTermsTest, AreChecked) {
  ASSERT_TRUE(ParseManifest(MaskedManifest().SerializeAsString()).ok());
  const std::vector<std::function<void(v1::MaskingTerms&)>> changes = {
      [](auto& t) { t.set_protocol_version(2); },
      [](auto& t) { t.set_roster_version(0); },
      [](auto& t) { t.set_roster_root("short"); },
      [](auto& t) { t.set_roster_leaves(0); },
      [](auto& t) { t.clear_nonce(); },
      [](auto& t) { t.set_keys_by_ms(0); },
      [](auto& t) { t.set_acks_by_ms(t.shares_by_ms()); },
      [](auto& t) { t.set_unmask_by_ms(t.unmask_by_ms() + 1); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    v1::RoundManifest manifest = MaskedManifest();
    changes[i](*manifest.mutable_masking());
    EXPECT_FALSE(ParseManifest(manifest.SerializeAsString()).ok()) << i;
  }
}

TEST(OverrideTest, IsChecked) {
  v1::SpentOverride document;
  *document.mutable_header() = ValidCard().header();
  document.set_plan_digest(std::string(32, 'p'));
  document.set_adapter_digest(std::string(32, 'a'));
  document.set_extra(1);
  EXPECT_TRUE(ParseOverride(document.SerializeAsString()).ok());
  document.set_extra(0);
  EXPECT_FALSE(ParseOverride(document.SerializeAsString()).ok());
  document.set_extra(1);
  document.set_adapter_digest("a");
  EXPECT_FALSE(ParseOverride(document.SerializeAsString()).ok());
  document.set_adapter_digest(std::string(32, 'a'));
  document.set_plan_digest("p");
  EXPECT_FALSE(ParseOverride(document.SerializeAsString()).ok());
  document.set_plan_digest(std::string(32, 'p'));
  EXPECT_TRUE(ParseOverride(document.SerializeAsString()).ok());
  document.clear_header();
  EXPECT_FALSE(ParseOverride(document.SerializeAsString()).ok());
}

}  // namespace
}  // namespace edgetune
