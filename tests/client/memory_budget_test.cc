#include "client/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rank_slices.h"
#include "base/status.h"
#include "client/train_plan.h"
#include "protos/plan_check.h"
#include "tests/client/client_world.h"
#include "tests/testing/plans.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

class MemoryBudgetTest : public ::testing::Test {
 protected:
  MemoryBudgetTest() {
    files_.train = testing::WriteChatData(scratch_.path(), "animal", 20);
    data_ = *ReadLocalData(files_, plan_, *model_);
  }
  LocalTraining Training(const std::string& engine) const {
    return {.plan = plan_,
            .model = *model_,
            .data = data_,
            .data_name = "animal",
            .engine = engine,
            .threads = 3};
  }

  const testing::ScratchDirectory scratch_;
  const testing::TestRun run_ = testing::MakeTestRun(scratch_.path(), 1);
  v1::TaskPlan plan_ = run_.plan;
  const std::unique_ptr<ModelFile> model_ =
      std::move(ModelFile::Open(run_.model_path)).value();
  ClientFile::Data files_;
  LocalData data_;
};

TEST_F(MemoryBudgetTest, TheSmallerCountsAndNoneIsNone) {
  ClientFile::Train device;
  EXPECT_EQ(MemoryBudgetOf(plan_, device), 0u);
  device.memory_budget = 300;
  EXPECT_EQ(MemoryBudgetOf(plan_, device), 300u);
  plan_.mutable_train()->set_memory_budget(200);
  EXPECT_EQ(MemoryBudgetOf(plan_, device), 200u);
  device.memory_budget = 100;
  EXPECT_EQ(MemoryBudgetOf(plan_, device), 100u);
  device.memory_budget = 0;
  EXPECT_EQ(MemoryBudgetOf(plan_, device), 200u);
}

TEST_F(MemoryBudgetTest, StepsAreThoseOfAllRounds) {
  const MemoryWork work = MemoryWorkOf(Training("fused"));
  EXPECT_EQ(work.threads, 3);
  ASSERT_EQ(work.steps.size(), 9u);  // 3 rounds of 3
  // The last step, as the trainer takes it.
  const TrainConfig config = TrainConfigOf(plan_, 2, {"animal", 9});
  ExampleOrder order(config.seed, data_.train->size());
  const auto batch = order.Batch(config, 2);
  ASSERT_EQ(work.steps[8].size(), batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    const LabelledTokens& example = data_.train->Get(batch[i]);
    EXPECT_EQ(work.steps[8][i].tokens,
              static_cast<int64_t>(example.tokens.size()));
    EXPECT_GT(work.steps[8][i].labels, 0);
    EXPECT_LT(work.steps[8][i].labels, work.steps[8][i].tokens);
  }
}

TEST_F(MemoryBudgetTest, ALongRunIsItsLongestExamples) {
  plan_.mutable_train()->set_steps(100'000);
  const MemoryWork work = MemoryWorkOf(Training("fused"));
  ASSERT_EQ(work.steps.size(), 1u);
  ASSERT_EQ(work.steps[0].size(), plan_.train().batch());
  EXPECT_GE(work.steps[0][0].tokens, work.steps[0][1].tokens);
}

TEST_F(MemoryBudgetTest, EpochsAreAllTheirBatchesTheLastOneShort) {
  plan_.mutable_train()->clear_steps();
  plan_.mutable_train()->set_epochs(1);
  plan_.mutable_train()->set_batch(4);
  plan_.mutable_rounds()->set_count(2);
  const MemoryWork work = MemoryWorkOf(Training("fused"));
  const auto examples = static_cast<size_t>(data_.train->size());
  ASSERT_EQ(work.steps.size(), 2 * ((examples + 3) / 4));
  size_t all = 0;
  for (const auto& step : work.steps) all += step.size();
  EXPECT_EQ(all, 2 * examples);
}

TEST_F(MemoryBudgetTest, MomentsAreTheOptimizersAndIncomingOnesAreScored) {
  EXPECT_EQ(MemoryWorkOf(Training("fused")).moments, 2);
  EXPECT_TRUE(MemoryWorkOf(Training("fused")).incoming.empty());
  plan_.mutable_train()->set_optimizer("sgd");
  EXPECT_EQ(MemoryWorkOf(Training("fused")).moments, 0);
  plan_.mutable_train()->set_momentum(0.9);
  EXPECT_EQ(MemoryWorkOf(Training("fused")).moments, 1);
  plan_.mutable_rounds()->set_fairness_q(1);
  plan_.mutable_rounds()->set_eval_examples(2);
  const MemoryWork work = MemoryWorkOf(Training("fused"));
  ASSERT_EQ(work.incoming.size(), 2u);
  EXPECT_EQ(work.incoming[1].tokens,
            static_cast<int64_t>(data_.train->Get(1).tokens.size()));
}

TEST_F(MemoryBudgetTest, AControlVariateIsAVectorMore) {
  UseScaffold(plan_, 1);
  MemoryWork work = MemoryWorkOf(Training("fused"));
  EXPECT_TRUE(work.corrected);
  const uint64_t with = PredictMemory(work, {}).peak;
  work.corrected = false;
  EXPECT_EQ(with, PredictMemory(work, {}).peak +
                      static_cast<uint64_t>(work.trained) * sizeof(float));
  plan_.mutable_train()->set_objective("plain");
  EXPECT_FALSE(MemoryWorkOf(Training("fused")).corrected);
}

TEST_F(MemoryBudgetTest, TrainedIsTheRoundWithMost) {
  EXPECT_EQ(MemoryWorkOf(Training("fused")).trained,
            static_cast<int64_t>(UpdateLayout(plan_, 0)->size()));
  plan_.mutable_lora()->set_rule("rolora");
  EXPECT_EQ(MemoryWorkOf(Training("fused")).trained,
            static_cast<int64_t>(std::max(UpdateLayout(plan_, 0)->size(),
                                          UpdateLayout(plan_, 1)->size())));
  plan_.mutable_lora()->set_rule("fedsa");  // sends A, trains B too
  EXPECT_EQ(MemoryWorkOf(Training("fused")).trained,
            static_cast<int64_t>(AdapterLayout(plan_)->size()));
}

TEST_F(MemoryBudgetTest, ASmallerRankHasFewerOfThem) {
  LocalTraining training = Training("fused");
  training.rank = 1;
  const MemoryWork work = MemoryWorkOf(training);
  EXPECT_EQ(work.lora.rank, 1);
  EXPECT_EQ(work.trained,
            static_cast<int64_t>(AdapterLayout(plan_)->size() / 2));
}

TEST_F(MemoryBudgetTest, FrozenSlicesAreInMemoryBesideThoseTrained) {
  LocalTraining plain = Training("fused");
  plain.rank = 1;
  const uint64_t before = PredictMemory(MemoryWorkOf(plain), {}).peak;
  testing::TestRun run;
  run.plan = plan_;
  testing::UseFrozen(run, "flora", 3);
  plan_ = run.plan;
  LocalTraining training = Training("fused");
  EXPECT_EQ(MemoryWorkOf(training).lora.rank, 5);
  training.rank = 1;
  const MemoryWork work = MemoryWorkOf(training);
  EXPECT_EQ(work.lora.rank, 4);
  const ParameterLayout layout = *AdapterLayout(plan_);
  EXPECT_EQ(work.trained, static_cast<int64_t>(LayoutOfRank(layout, 4).size() +
                                               LayoutOfRank(layout, 1).size()));
  EXPECT_GT(PredictMemory(work, {}).peak, before);
}

TEST_F(MemoryBudgetTest, OnlyTheFusedEngineTakesABudget) {
  EXPECT_TRUE(FitToMemory(Training("fused"), 10'000'000'000).ok());
  const auto none = FitToMemory(Training("reference"), 0);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->choice.micro_batch, plan_.train().micro_batch());
  const auto refused = FitToMemory(Training("reference"), 10'000'000'000);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
}

TEST_F(MemoryBudgetTest, CutExamplesAreThePlansToo) {
  EXPECT_EQ(WithLength(plan_, {}).data().max_length(), 64u);
  EXPECT_EQ(WithLength(plan_, {.max_length = 32}).data().max_length(), 32u);
  EXPECT_EQ(WithLength(plan_, {.max_length = 96}).data().max_length(), 64u);
}

using ClientMemoryTest = testing::ClientWorld;

TEST_F(ClientMemoryTest, ABudgetThatIsEnoughChangesNothing) {
  file_.train.memory_budget = 10'000'000'000;
  Start();
  Assign(Manifest(0));
  NextReport();
  EXPECT_EQ(engine_.micro_batch, run_.plan.train().micro_batch());
}

TEST_F(ClientMemoryTest, ABudgetThatIsTooSmallIsDeclinedWithWhatIsNeeded) {
  file_.train.memory_budget = 1'000'000;
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  EXPECT_THAT(declined.detail(), HasSubstr("training needs at least"));
  EXPECT_THAT(declined.detail(), HasSubstr("budget is 1.0 MB"));
  EXPECT_EQ(engine_.trainings, 0);
}

}  // namespace
}  // namespace edgetune
