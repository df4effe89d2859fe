#include "aggregation/plan_strategy.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

TEST(PlanStrategyTest, CombiningFollowsThePlan) {
  v1::TaskPlan plan = ValidPlan();
  v1::RoundsSpec& rounds = *plan.mutable_rounds();
  rounds.set_aggregator("multi_krum");
  rounds.set_over_select(1.5);
  rounds.set_clear_bound(7);
  rounds.set_weight_cap(100);
  rounds.set_byzantine(2);
  rounds.set_kept(3);
  rounds.set_trim(0.3);
  rounds.set_norm_bound(5);
  const CombineOptions wanted = {.rule = CombineRule::kMultiKrum,
                                 .limits = {.coordinates = 56,
                                            .bound = 7,
                                            .weight_cap = 100,
                                            .max_updates = 6},
                                 .trim = 0.3,
                                 .byzantine = 2,
                                 .kept = 3,
                                 .norm_bound = 5};
  EXPECT_EQ(CombineOptionsOf(plan, 0).value(), wanted);
  rounds.set_weights("equal");
  EXPECT_EQ(CombineOptionsOf(plan, 0)->limits.weight_cap, 1);
  EXPECT_FALSE(CombineOptionsOf(plan, 3).ok());  // the plan has three rounds
  rounds.set_aggregator("mode");
  EXPECT_FALSE(CombineOptionsOf(plan, 0).ok());
}

TEST(PlanStrategyTest, TheServerStepFollowsThePlan) {
  v1::RoundsSpec rounds = ValidPlan().rounds();
  rounds.set_server_optimizer("yogi");
  rounds.set_server_lr(0.5);
  rounds.set_server_beta1(0.6);
  rounds.set_server_beta2(0.7);
  rounds.set_server_epsilon(0.8);
  const auto options = ServerOptimizerOptionsOf(rounds);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->kind, ServerOptimizerOptions::Kind::kYogi);
  EXPECT_EQ(options->lr, 0.5);
  EXPECT_EQ(options->beta1, 0.6);
  EXPECT_EQ(options->beta2, 0.7);
  EXPECT_EQ(options->epsilon, 0.8);
  rounds.set_server_optimizer("lion");
  EXPECT_FALSE(ServerOptimizerOptionsOf(rounds).ok());
}

// Two rooms that may not include each other state the same need.
TEST(PlanStrategyTest, APlanNeedsAsManyUpdatesAsItsRule) {
  v1::TaskPlan plan = ValidPlan();
  v1::RoundsSpec& rounds = *plan.mutable_rounds();
  for (const std::string rule :
       {"mean", "norm_bound", "trimmed_mean", "median", "geometric_median",
        "krum", "multi_krum", "bulyan"}) {
    rounds.set_aggregator(rule);
    for (uint32_t f = 1; f < 40; ++f) {
      rounds.set_byzantine(f);
      rounds.set_kept(2 * f % 17 * 5);
      for (const double trim : {1.0 / (f + 2), f / 81.0, 0.01 * f, 1e-30}) {
        rounds.set_trim(trim);
        EXPECT_EQ(
            static_cast<uint64_t>(FewestUpdates(*CombineOptionsOf(plan, 0))),
            UpdatesNeeded(rounds))
            << rule << " " << f << " " << trim;
      }
    }
  }
}

}  // namespace
}  // namespace edgetune
