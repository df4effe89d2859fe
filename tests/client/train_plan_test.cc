#include "client/train_plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/random.h"
#include "base/rank_slices.h"
#include "protos/plan_check.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

class TrainPlanTest : public ::testing::Test {
 protected:
  const testing::ScratchDirectory scratch_;
  v1::TaskPlan plan_ = testing::MakeTestRun(scratch_.path(), 1).plan;
};

TEST_F(TrainPlanTest, SegmentHasThePlansSettings) {
  plan_.mutable_train()->set_schedule("cosine");
  plan_.mutable_train()->set_warmup(2);
  plan_.mutable_train()->set_weight_decay(0.5);
  const TrainConfig config = TrainConfigOf(plan_, 2, {"animal", 9});
  EXPECT_EQ(config.lr, 1e-2);
  EXPECT_EQ(config.steps, 3);
  EXPECT_EQ(config.batch, 2);
  EXPECT_EQ(config.micro_batch, 2);
  EXPECT_EQ(config.schedule, Schedule::kCosine);
  EXPECT_EQ(config.warmup, 2);
  EXPECT_EQ(config.grad_clip, 1);
  EXPECT_EQ(config.weight_decay, 0.5);
  EXPECT_EQ(config.round, 2);
  EXPECT_EQ(config.rounds, 3);
  EXPECT_EQ(config.seed, ClientSeed(7, 2, "animal"));
}

TEST_F(TrainPlanTest, SegmentHasWhatThePlanMinimises) {
  const TrainConfig absent = TrainConfigOf(plan_, 0, {"animal", 9});
  EXPECT_EQ(absent.optimizer, OptimizerKind::kAdamW);
  EXPECT_EQ(absent.epochs, 0);
  EXPECT_EQ(absent.prox_mu, 0);
  plan_.mutable_train()->set_optimizer("sgd");
  plan_.mutable_train()->set_momentum(0.9);
  plan_.mutable_train()->set_objective("prox");
  plan_.mutable_train()->set_prox_mu(0.1);
  const TrainConfig config = TrainConfigOf(plan_, 0, {"animal", 9});
  EXPECT_EQ(config.optimizer, OptimizerKind::kSgd);
  EXPECT_EQ(config.momentum, 0.9);
  EXPECT_EQ(config.prox_mu, 0.1);
  plan_.mutable_train()->set_teacher_alpha(0.75);
  EXPECT_EQ(TrainConfigOf(plan_, 0, {"animal", 9}).teacher_alpha, 0.75);
  plan_.mutable_train()->set_optimizer("adamw");
  EXPECT_EQ(TrainConfigOf(plan_, 0, {"animal", 9}).optimizer,
            OptimizerKind::kAdamW);
}

// What the coordinator expects of a report is what the device does.
TEST_F(TrainPlanTest, StepsOfEpochsAreThoseThatAReportIsHeldTo) {
  plan_.mutable_train()->clear_steps();
  plan_.mutable_train()->set_epochs(3);
  for (const int64_t examples : {1, 2, 3, 9, 1000}) {
    const TrainConfig config = TrainConfigOf(plan_, 0, {"animal", examples});
    EXPECT_EQ(config.epochs, 3);
    EXPECT_EQ(config.steps, EpochSteps(config, examples));
    EXPECT_EQ(config.steps, (3 * examples + 1) / 2);  // batches of 2
  }
}

TEST_F(TrainPlanTest, EpochsOfTooManyExamplesAreRefused) {
  EXPECT_TRUE(CheckExamples(plan_, 10'000'000).ok());  // steps are 3
  plan_.mutable_train()->clear_steps();
  plan_.mutable_train()->set_epochs(10);
  EXPECT_TRUE(CheckExamples(plan_, 20'000).ok());  // 100,000 batches of 2
  const absl::Status status = CheckExamples(plan_, 20'001);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST_F(TrainPlanTest, IncomingLossIsAMeanWithinItsBounds) {
  EXPECT_DOUBLE_EQ(*IncomingLossOf({.nll_sum = 5, .tokens = 2}), 2.5);
  EXPECT_EQ(*IncomingLossOf({.nll_sum = 0, .tokens = 2}), 1e-6);
  EXPECT_EQ(*IncomingLossOf({.nll_sum = 2e4, .tokens = 2}), 1e4);
  for (const double sum : {2.1e4, double{NAN}, double{INFINITY}}) {
    EXPECT_TRUE(absl::IsDataLoss(
        IncomingLossOf({.nll_sum = sum, .tokens = 2}).status()));
  }
}

TEST_F(TrainPlanTest, FactorsAreThoseThatTheRoundSends) {
  EXPECT_EQ(TrainConfigOf(plan_, 1, {"animal", 9}).factors, Factors::kBoth);
  plan_.mutable_lora()->set_rule("ffa");
  EXPECT_EQ(TrainConfigOf(plan_, 1, {"animal", 9}).factors, Factors::kB);
  plan_.mutable_lora()->set_rule("rolora");
  EXPECT_EQ(TrainConfigOf(plan_, 0, {"animal", 9}).factors, Factors::kB);
  EXPECT_EQ(TrainConfigOf(plan_, 1, {"animal", 9}).factors, Factors::kA);
}

// A device of rank 1 leaves out the plan's second slice, not the frozen ones;
// all have the scale that alpha has over lora.rank.
TEST_F(TrainPlanTest, FrozenSlicesStayWithAnyRankAndOneScale) {
  testing::TestRun run;
  run.plan = plan_;
  UseFrozen(run, "flora", 3);
  const TrainConfig config = TrainConfigOf(run.plan, 0, {"animal", 9});
  EXPECT_EQ(config.frozen_rank, 3);
  EXPECT_EQ(config.factors, Factors::kBoth);
  EXPECT_EQ(TrainConfigOf(plan_, 0, {"animal", 9}).frozen_rank, 0);
  Adapter adapter{AdapterSpecOf(run.plan), *AdapterLayout(run.plan), {}};
  EXPECT_EQ(adapter.spec.rank, 5);
  EXPECT_DOUBLE_EQ(adapter.spec.alpha / 5, 4.0 / 2);
  for (const uint32_t slice : SlicesOf(adapter.layout)) {
    adapter.values.push_back(static_cast<float>(slice));
  }
  const Adapter all = PartOf(run.plan, adapter, 2);
  EXPECT_EQ(all.values, adapter.values);
  Adapter part = PartOf(run.plan, adapter, *RankOf(run.plan, 1));
  EXPECT_EQ(part.spec.rank, 4);
  EXPECT_DOUBLE_EQ(part.spec.alpha / 4, 4.0 / 2);
  EXPECT_EQ(std::set<float>(part.values.begin(), part.values.end()),
            (std::set<float>{0, 2, 3, 4}));
  // What is sent has the trained slices alone, zeros for the second.
  const ParameterLayout trained = TrainedLayout(part.layout, config);
  const ParameterLayout sent = *UpdateLayout(run.plan, 0);
  const ParameterVector ones(trained.size(), 1);
  EXPECT_EQ(TakeSent(run.plan, 0, ones, part), PadSlices(ones, sent, 1));
  run.plan.mutable_lora()->set_rule("fedex");
  EXPECT_TRUE(absl::IsFailedPrecondition(RankOf(run.plan, 1).status()));
}

TEST_F(TrainPlanTest, SeedIsTheDocumentedFunction) {
  EXPECT_EQ(ClientSeed(7, 2, "animal"),
            Random(7).Split("client/animal", 2).Next());
  EXPECT_EQ(HeldOutSeed(7, "animal"), Random(7).Split("heldout/animal").Next());
}

TEST_F(TrainPlanTest, SeedDependsOnPlanRoundAndName) {
  const std::set<uint64_t> seeds = {
      ClientSeed(7, 0, "animal"), ClientSeed(8, 0, "animal"),
      ClientSeed(7, 1, "animal"), ClientSeed(7, 0, "food"),
      HeldOutSeed(7, "animal"),   HeldOutSeed(7, "food")};
  EXPECT_EQ(seeds.size(), 6u);
}

TEST_F(TrainPlanTest, PrecisionAndThreadsReachTheEngine) {
  EXPECT_EQ(EngineOptionsOf(plan_, 2).precision, Precision::kFp32);
  EXPECT_EQ(EngineOptionsOf(plan_, 2).threads, 2);
  plan_.mutable_model()->set_precision("bf16");
  EXPECT_EQ(EngineOptionsOf(plan_, 0).precision, Precision::kBf16);
  plan_.mutable_model()->set_precision("auto");
  EXPECT_EQ(EngineOptionsOf(plan_, 0).precision, Precision::kAuto);
}

TEST_F(TrainPlanTest, MemoryChoiceReachesTheEngine) {
  EXPECT_FALSE(EngineOptionsOf(plan_, 1).recompute);
  EXPECT_EQ(EngineOptionsOf(plan_, 1).weights, WeightMemory::kMapped);
  const EngineOptions options = EngineOptionsOf(
      plan_, 1, {.weights = WeightMemory::kCopied, .recompute = true});
  EXPECT_TRUE(options.recompute);
  EXPECT_EQ(options.weights, WeightMemory::kCopied);
}

TEST_F(TrainPlanTest, DataOptionsAreThePlans) {
  plan_.mutable_data()->set_schema("prompt");
  EXPECT_EQ(DataOptionsOf(plan_).schema, "prompt");
  EXPECT_EQ(DataOptionsOf(plan_).max_length, 64);
}

TEST_F(TrainPlanTest, WeightIsExamplesUnderTheCap) {
  EXPECT_EQ(WeightOf(plan_, 100), 100);
  EXPECT_EQ(WeightOf(plan_, 5000), 1024);
}

TEST_F(TrainPlanTest, EngineMustBeTheDevices) {
  EXPECT_EQ(*EngineOf(plan_, "auto"), "auto");
  EXPECT_EQ(*EngineOf(plan_, "reference"), "reference");
  plan_.mutable_train()->set_engine("reference");
  EXPECT_EQ(*EngineOf(plan_, "auto"), "reference");
  EXPECT_EQ(*EngineOf(plan_, "reference"), "reference");
  EXPECT_TRUE(absl::IsFailedPrecondition(EngineOf(plan_, "fused").status()));
}

TEST_F(TrainPlanTest, LayoutMustBeOfTheBaseModel) {
  const auto model = *ModelFile::Open(scratch_.File("tiny.gguf"));
  EXPECT_TRUE(CheckLayout(plan_, model->config()).ok());
  plan_.mutable_lora()->mutable_layout(0)->set_shape(1, 63);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckLayout(plan_, model->config())));
}

}  // namespace
}  // namespace edgetune
