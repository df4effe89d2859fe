// The first rank slices in training: what TrainSegment makes of them is what it
// makes of an engine that has these alone.

#include "training/slice_gradient.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/training/pulling_engine.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::Numbers;
using testing::PullingEngine;

constexpr int64_t kFrozen = 2;

// Rank 3, of which one slice is trained.
Adapter MakeSliceAdapter() {
  Adapter adapter{{.rank = 3, .alpha = 3, .targets = {"q_proj"}},
                  *ParameterLayout::Make({{"p.lora_A", {3, 2}},
                                          {"p.lora_B", {4, 3}},
                                          {"q.lora_A", {3, 1}},
                                          {"q.lora_B", {2, 3}}}),
                  {}};
  for (size_t i = 0; i < adapter.layout.size(); ++i) {
    adapter.values.push_back(0.1f * static_cast<float>(i) - 1);
  }
  return adapter;
}

class SliceTrainingTest : public ::testing::Test {
 protected:
  SliceTrainingTest() {
    model_.vocab = 100;
    model_.context = 8;
    config_ = {.lr = 0.1,
               .steps = 5,
               .batch = 1,
               .micro_batch = 1,
               .grad_clip = 0.5,
               .weight_decay = 0.3,
               .prox_mu = 0.2,
               .frozen_rank = kFrozen};
  }
  absl::StatusOr<TrainResult> Train(const Adapter& adapter,
                                    GradientEngine& engine) {
    const StopToken stop{false};
    return TrainSegment({"pulling", model_, adapter, numbers_, config_}, stop,
                        {}, engine);
  }

  ModelConfig model_;
  TrainConfig config_;
  const Numbers numbers_{{3, 5}};
  const Adapter adapter_ = MakeSliceAdapter();
};

// Clipping, decay, moments and the pull back are those of the trained slice.
TEST_F(SliceTrainingTest, IsTheTrainingOfTheTrainedSlicesAlone) {
  for (const OptimizerKind kind :
       {OptimizerKind::kAdamW, OptimizerKind::kSgd}) {
    config_.optimizer = kind;
    PullingEngine engine(adapter_.values);
    const auto part = Train(adapter_, engine);
    ASSERT_TRUE(part.ok()) << part.status();
    const Adapter narrow = WithRank(adapter_, 1);
    PullingEngine alone(narrow.values);
    config_.frozen_rank = 0;
    const auto whole = Train(narrow, alone);
    config_.frozen_rank = kFrozen;
    ASSERT_TRUE(whole.ok()) << whole.status();
    EXPECT_EQ(part->delta, whole->delta);
    EXPECT_EQ(part->delta.size(),
              TrainedLayout(adapter_.layout, config_).size());
    EXPECT_NE(part->delta, ParameterVector(part->delta.size()));
  }
}

TEST_F(SliceTrainingTest, FrozenSlicesStayToTheBit) {
  PullingEngine engine(adapter_.values);
  ASSERT_TRUE(Train(adapter_, engine).ok());
  const ParameterVector after(engine.values().begin(), engine.values().end());
  EXPECT_EQ(WithoutSlices(after, adapter_.layout, 0, 1),
            WithoutSlices(adapter_.values, adapter_.layout, 0, 1));
  EXPECT_NE(after, adapter_.values);
}

TEST_F(SliceTrainingTest, GradientsAddUpOverMicroBatches) {
  PullingEngine engine(adapter_.values);
  SliceGradient slices(engine, TrainedRanges(adapter_.layout, config_));
  const LabelledTokens* const example = &numbers_.Get(0);
  slices.AddGradient({&example, 1}, 0.5);
  const ParameterVector once(slices.gradient().begin(),
                             slices.gradient().end());
  slices.AddGradient({&example, 1}, 0.5);
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_EQ(once[i], 0.5f * (slices.values()[i] - 3));
    EXPECT_EQ(slices.gradient()[i], 2 * once[i]);
  }
}

TEST_F(SliceTrainingTest, SomethingMustBeTrainedAndBothFactors) {
  PullingEngine engine(adapter_.values);
  for (const int64_t frozen : {-1, 3, 4}) {
    config_.frozen_rank = frozen;
    EXPECT_THAT(std::string(Train(adapter_, engine).status().message()),
                HasSubstr("of an adapter of rank 3, wanted fewer"));
  }
  config_.frozen_rank = kFrozen;
  config_.factors = Factors::kB;
  EXPECT_THAT(std::string(Train(adapter_, engine).status().message()),
              HasSubstr("both factors trained"));
}

}  // namespace
}  // namespace edgetune
