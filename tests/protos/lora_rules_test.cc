// What a LoRA rule wants of the rest of a plan.

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/rank_slices.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protos/plan_check.h"
#include "tests/protos/refusals.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::ExpectRefused;
using ::testing::HasSubstr;
using testing::PlanChange;

v1::TaskPlan PlanOf(const std::string& rule, v1::TaskPlan plan = ValidPlan()) {
  plan.mutable_lora()->set_rule(rule);
  return plan;
}

void UseEpochs(v1::TaskPlan& plan) {
  plan.mutable_train()->clear_steps();
  plan.mutable_train()->set_epochs(1);
  plan.mutable_train()->set_optimizer("sgd");
  plan.mutable_train()->set_schedule("constant");
  plan.mutable_train()->set_warmup(0);
}

TEST(LoraRulesTest, SlicesHaveMeansOfTheirOwnInTheClear) {
  const std::string got = "lora.rule is hetlora, wanted ";
  ExpectRefused(PlanOf("hetlora"),
                {{got + "rounds.aggregator = mean",
                  [](auto& p) {
                    p.mutable_rounds()->set_aggregator("norm_bound");
                    p.mutable_rounds()->set_norm_bound(1);
                  }},
                 {got + "rounds.normalise = none",
                  [](auto& p) {
                    UseEpochs(p);
                    p.mutable_rounds()->set_normalise("steps");
                  }},
                 {got + "rounds.fairness_q = 0",
                  [](auto& p) {
                    p.mutable_train()->set_optimizer("sgd");
                    p.mutable_rounds()->set_fairness_q(1);
                  }},
                 {"lora.rule = \"fedit\", \"ffa\" or \"full\"",
                  [](auto& p) { UseScaffold(p, 8); }}});
  EXPECT_THAT(
      std::string(CheckPlan(PlanOf("hetlora", MaskedPlan())).message()),
      HasSubstr(got + "secagg.enabled = false beside it: what one device"));
}

TEST(LoraRulesTest, ProductsAreAveragedInTheClearAndTakenAsTheyAre) {
  const std::string got = "lora.rule is flexlora, wanted ";
  v1::TaskPlan plan = PlanOf("flexlora");
  plan.mutable_rounds()->set_server_optimizer("sgd");
  plan.mutable_rounds()->set_server_lr(1);
  ExpectRefused(
      plan,
      {{got + "rounds.aggregator = mean",
        [](auto& p) { p.mutable_rounds()->set_aggregator("median"); }},
       {got + "rounds.fairness_q = 0",
        [](auto& p) {
          p.mutable_train()->set_optimizer("sgd");
          p.mutable_rounds()->set_fairness_q(1);
        }},
       {got + "rounds.server_optimizer = sgd",
        [](auto& p) { p.mutable_rounds()->set_server_lr(0.5); }},
       {got + "rounds.server_optimizer = sgd",
        [](auto& p) { p.mutable_rounds()->set_server_optimizer("momentum"); }},
       {"513 clients asked, wanted at most 512 under flexlora", [](auto& p) {
          p.mutable_rounds()->set_cohort(513);
          p.mutable_rounds()->set_over_select(1);
        }}});
  v1::TaskPlan masked = PlanOf("flexlora", MaskedPlan());
  masked.mutable_rounds()->set_server_optimizer("sgd");
  masked.mutable_rounds()->set_server_lr(1);
  EXPECT_THAT(std::string(CheckPlan(masked).message()),
              HasSubstr(got + "secagg.enabled = false beside it: the mean of "
                              "the products"));
}

// Rank 2, so each core is 2 x 2.
v1::TaskPlan CorePlan(v1::TaskPlan plan = ValidPlan()) {
  const v1::LoraSpec before = plan.lora();
  v1::LoraSpec& lora = *plan.mutable_lora();
  lora.set_rule("fedsb");
  lora.clear_layout();
  for (const v1::LayoutTensor& tensor : before.layout()) {
    *lora.add_layout() = tensor;
    if (!tensor.name().ends_with("lora_B")) continue;
    v1::LayoutTensor* core = lora.add_layout();
    core->set_name(tensor.name().substr(0, tensor.name().size() - 1) + "R");
    core->add_shape(2);
    core->add_shape(2);
  }
  return plan;
}

TEST(LoraRulesTest, CoresStandAfterTheirFactorsInTheLayout) {
  ExpectRefused(
      CorePlan(),
      {{"lora.layout[2].name is \"layers.0.self_attn.q_proj.lora_R\"",
        [](auto& p) { p.mutable_lora()->set_rule("fedit"); }},
       {"lora.layout is 11 tensors",
        [](auto& p) { p.mutable_lora()->mutable_layout()->RemoveLast(); }},
       {"q_proj.lora_R",
        [](auto& p) {
          p.mutable_lora()->mutable_layout()->SwapElements(1, 2);
        }},
       {"[2, 3] of layers.0.self_attn.q_proj.lora_R, wanted [rank, rank]",
        [](auto& p) { p.mutable_lora()->mutable_layout(2)->set_shape(1, 3); }},
       {"lora.rule = \"fedit\", \"ffa\" or \"full\"",
        [](auto& p) { UseScaffold(p, 8); }}});
  EXPECT_THAT(std::string(CheckPlan(PlanOf("fedsb")).message()),
              HasSubstr("lora.layout is 8 tensors, wanted 6 for each layer"));
  EXPECT_TRUE(CheckPlan(CorePlan(MaskedPlan())).ok());
  // Four modules of 2 x 2, of an adapter of 56 + 16.
  EXPECT_EQ(UpdateLayout(CorePlan(), 1)->size(), 16u);
  EXPECT_EQ(AdapterLayout(CorePlan())->size(), 72u);
  EXPECT_THAT(PlanNotes(CorePlan()),
              ::testing::Contains(HasSubstr("a square of rank by rank")));
}

// Rank 2 of which `trained` slices are trained.
v1::TaskPlan FrozenPlan(const std::string& rule, uint32_t trained = 1,
                        v1::TaskPlan plan = ValidPlan()) {
  plan.mutable_lora()->set_rank(trained);
  plan.mutable_rounds()->set_server_optimizer("sgd");
  plan.mutable_rounds()->set_server_lr(1);
  return PlanOf(rule, std::move(plan));
}

TEST(LoraRulesTest, FrozenSlicesAreWhatTheLayoutHasBeyondTheRank) {
  for (const std::string rule : {"fedex", "flora"}) {
    const v1::TaskPlan plan = FrozenPlan(rule);
    EXPECT_EQ(FrozenRank(plan), 1);
    EXPECT_EQ(TrainsSlices(plan), rule == "flora");
    const ParameterLayout adapter = *AdapterLayout(plan);
    EXPECT_EQ(adapter.size(), 56u);
    EXPECT_EQ(*UpdateLayout(plan, 1), LayoutOfRank(adapter, 1));
    EXPECT_EQ(*UpdateRanges(plan, 1), SliceRanges(adapter, 1));
    EXPECT_EQ(*StepRanges(plan, 1), RangesOf(adapter, Factors::kBoth));
    EXPECT_FALSE(StepRanges(plan, 3).ok());
    const std::string none = "lora.layout is ";
    ExpectRefused(
        plan,
        {{none + "0 frozen rank slices, wanted 1 to 1024",
          [](auto& p) { p.mutable_lora()->set_rank(2); }},
         {none + "-1 frozen rank slices",
          [](auto& p) { p.mutable_lora()->set_rank(3); }},
         {none + "4999 frozen rank slices, wanted 1 to",
          [](auto& p) {
            p.mutable_lora()->mutable_layout(0)->set_shape(0, 5000);
          }},
         {none + "0 frozen",
          [](auto& p) { p.mutable_lora()->mutable_layout(0)->clear_shape(); }},
         {"lora.layout[3].shape",
          [](auto& p) {
            p.mutable_lora()->mutable_layout(3)->set_shape(1, 1);
          }},
         {none + "0 frozen", [](auto& p) { p.mutable_lora()->clear_layout(); }},
         {"lora.layout[0].shape",
          [](auto& p) { p.mutable_lora()->set_rule("fedit"); }}});
  }
}

TEST(LoraRulesTest, ExactMeansNeedEveryUpdateAndAreTakenAsTheyAre) {
  for (const std::string rule : {"fedex", "flora"}) {
    const std::string got = "lora.rule is " + rule + ", wanted ";
    ExpectRefused(
        FrozenPlan(rule),
        {{got + "rounds.aggregator = mean",
          [](auto& p) { p.mutable_rounds()->set_aggregator("median"); }},
         {got + "rounds.normalise = none",
          [](auto& p) {
            UseEpochs(p);
            p.mutable_rounds()->set_normalise("steps");
          }},
         {got + "rounds.fairness_q = 0",
          [](auto& p) {
            p.mutable_train()->set_optimizer("sgd");
            p.mutable_rounds()->set_fairness_q(1);
          }},
         {got + "rounds.server_optimizer = sgd",
          [](auto& p) { p.mutable_rounds()->set_server_lr(0.5); }},
         {got + "rounds.server_optimizer = sgd",
          [](auto& p) { p.mutable_rounds()->set_server_optimizer("adam"); }},
         {"lora.rule = \"fedit\", \"ffa\" or \"full\"",
          [](auto& p) { UseScaffold(p, 8); }},
         // 1022 clients' slices, the trained one and the frozen one.
         {"1023 clients asked, wanted at most 1022 under " + rule +
              " with lora.rank = 1 and 1 frozen slices",
          [](auto& p) { p.mutable_rounds()->set_cohort(1023); }}});
    EXPECT_THAT(
        std::string(CheckPlan(FrozenPlan(rule, 1, MaskedPlan())).message()),
        HasSubstr(got + "secagg.enabled = false beside it: the mean of the "
                        "products"));
  }
}

// Checks of masking ask for the update's size, whatever the layout is.
TEST(LoraRulesTest, LayoutsThatAreNoFactorsAreRefusedWhereverTheyAreAskedFor) {
  for (const std::string rule : {"fedex", "flora"}) {
    const v1::TaskPlan good = FrozenPlan(rule, 1, MaskedPlan());
    EXPECT_TRUE(UpdateLayout(good, 0).ok());
    const std::vector<PlanChange> changes = {
        [](auto& p) { p.mutable_lora()->set_rank(0); },
        [](auto& p) { p.mutable_lora()->set_rank(2); },
        [](auto& p) { p.mutable_lora()->clear_layout(); },
        [](auto& p) { p.mutable_lora()->mutable_layout(0)->clear_shape(); },
        [](auto& p) { p.mutable_lora()->mutable_layout(1)->add_shape(3); },
        [](auto& p) {
          p.mutable_lora()->mutable_layout(0)->set_shape(
              0, std::numeric_limits<int64_t>::min());
        }};
    for (const PlanChange& change : changes) {
      v1::TaskPlan plan = good;
      change(plan);
      EXPECT_TRUE(absl::IsInvalidArgument(CheckPlan(plan)));
      EXPECT_TRUE(absl::IsInvalidArgument(UpdateLayout(plan, 0).status()));
      EXPECT_TRUE(absl::IsInvalidArgument(UpdateRanges(plan, 0).status()));
    }
  }
}

// Nothing is divided by a rank that was refused.
TEST(LoraRulesTest, ARankOfZeroIsRefusedUnderEveryRule) {
  for (const char* rule : {"fedit", "hetlora", "flexlora", "fedex", "flora"}) {
    v1::TaskPlan plan = PlanOf(rule);
    plan.mutable_lora()->set_rank(0);
    EXPECT_THAT(std::string(CheckPlan(plan).message()), HasSubstr("lora.rank"));
  }
}

TEST(LoraRulesTest, FactorsThatStayOnDevicesCanBeMasked) {
  EXPECT_TRUE(CheckPlan(PlanOf("fedsa", MaskedPlan())).ok());
  EXPECT_TRUE(CheckPlan(PlanOf("fedsa")).ok());
}

TEST(LoraRulesTest, WhatARuleMeansForPeopleIsANote) {
  EXPECT_THAT(PlanNotes(PlanOf("fedsa")),
              ::testing::Contains(HasSubstr("each device keeps its own B")));
  EXPECT_THAT(PlanNotes(PlanOf("hetlora")),
              ::testing::Contains(HasSubstr("the first rank slices")));
  EXPECT_THAT(PlanNotes(PlanOf("flexlora")),
              ::testing::Contains(HasSubstr("holds every update")));
  for (const std::string rule : {"fedex", "flora"}) {
    EXPECT_THAT(PlanNotes(FrozenPlan(rule)),
                ::testing::Contains(HasSubstr(
                    rule + ": 1 frozen rank slices stand for what is added to "
                           "the base: 112 B more down")));
    EXPECT_THAT(PlanNotes(FrozenPlan(rule)),
                ::testing::Contains(HasSubstr("holds every update")));
  }
}

}  // namespace
}  // namespace edgetune
