#include "tools/federation/masking_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "protos/plan_check.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::TaskPlan MaskedPlan(uint32_t cohort, uint32_t n_min, uint32_t group) {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_rounds()->set_cohort(cohort);
  plan.mutable_rounds()->set_quorum(cohort);
  v1::SecAggSpec* secagg = plan.mutable_secagg();
  secagg->set_enabled(true);
  secagg->set_n_min(n_min);
  secagg->set_bits(32);
  secagg->set_bound(0.25);
  secagg->set_group(group);
  secagg->set_max_contributions(1);
  return plan;
}

TEST(MaskingTextTest, AClearPlanSaysThatUpdatesAreSeen) {
  EXPECT_THAT(PrivacyText(ValidPlan()),
              HasSubstr("the coordinator sees each update"));
  EXPECT_TRUE(MaskingJson(ValidPlan()).is_null());
  EXPECT_THAT(MaskingLines(ValidPlan()), IsEmpty());
}

TEST(MaskingTextTest, AMaskedPlanSaysOverHowManyIsSummed) {
  // t of the specification's table: 4 -> 3, 10 -> 7.
  EXPECT_THAT(PrivacyText(MaskedPlan(4, 4, 300)),
              HasSubstr("sums of updates, weights and held-out losses over 3 "
                        "or more devices"));
  EXPECT_THAT(PrivacyText(MaskedPlan(16, 10, 300)),
              HasSubstr("over 7 or more devices"));
}

TEST(MaskingTextTest, OneGroupIsDescribed) {
  const v1::TaskPlan plan = MaskedPlan(4, 4, 300);
  ASSERT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  // Step by hand: n_max B / (2^31 - 1 - n_max) = 4 * 0.25 / 2147483643.
  EXPECT_THAT(
      MaskingLines(plan),
      ElementsAre("of 4 devices that sent keys 3 must stay to the end; devices "
                  "refuse cohorts below 4",
                  "32 bits a coordinate, bound 0.25, steps of 4.7e-10"));
  const nlohmann::json json = MaskingJson(plan);
  EXPECT_EQ(json["threshold"], 3);
  EXPECT_EQ(json["groups"], 1);
  EXPECT_NEAR(json["step"], 1.0 / 2147483643, 1e-18);
}

TEST(MaskingTextTest, GroupsAreAsEqualAsCanBe) {
  const v1::TaskPlan plan = MaskedPlan(25, 5, 10);
  const MaskingFacts facts = MaskingFactsOf(plan);
  EXPECT_EQ(facts.groups, 3u);
  EXPECT_EQ(facts.members, 9u);
  EXPECT_EQ(facts.threshold, 7u);  // floor(18/3) + 1
  EXPECT_THAT(MaskingLines(plan).front(),
              HasSubstr("3 groups of at most 9 devices, 7 of which"));
}

TEST(MaskingTextTest, APlanThatCannotBeIsPutIntoWordsToo) {
  v1::TaskPlan plan;
  plan.mutable_secagg()->set_enabled(true);
  EXPECT_THAT(PrivacyText(plan), HasSubstr("over 1 or more"));
}

TEST(MaskingTextTest, NotesOfThePlanFollow) {
  v1::TaskPlan plan = MaskedPlan(4, 4, 300);
  plan.mutable_secagg()->set_bits(16);
  const auto notes = PlanNotes(plan);
  ASSERT_FALSE(notes.empty());
  EXPECT_EQ(MaskingLines(plan).back(), notes.back());
  EXPECT_EQ(MaskingJson(plan)["notes"], nlohmann::json(notes));
}

}  // namespace
}  // namespace edgetune
