// Cores in training: the gradient against differences of the loss, and what
// TrainSegment makes of them.

#include "training/core_gradient.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/factors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/io/adapter/core_adapter.h"
#include "tests/training/pulling_engine.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::Numbers;
using testing::PullingEngine;

Adapter MakeCoreAdapter() {
  const ParameterLayout plain = *ParameterLayout::Make({{"p.lora_A", {2, 3}},
                                                        {"p.lora_B", {4, 2}},
                                                        {"q.lora_A", {2, 5}},
                                                        {"q.lora_B", {3, 2}}});
  Adapter adapter{
      {.rank = 2, .alpha = 2, .targets = {"q_proj"}}, WithCores(plain), {}};
  adapter.values = InitialCoreAdapter(adapter.layout, 3);
  for (const auto& tensor : adapter.layout.tensors()) {
    if (!tensor.name.ends_with("lora_R")) continue;
    for (size_t i = 0; i < tensor.count; ++i) {
      adapter.values[tensor.offset + i] = 0.3f * static_cast<float>(i) - 0.5f;
    }
  }
  return adapter;
}

// An engine at B R of this adapter.
PullingEngine EngineAt(const Adapter& adapter) {
  const Adapter plain = PlainAdapter(adapter);
  return PullingEngine(
      Gather(plain.values, RangesOf(plain.layout, Factors::kB)));
}

// Half the squared distance of all entries of B R from the target.
double LossAt(const Adapter& adapter, double target) {
  const Adapter plain = PlainAdapter(adapter);
  double loss = 0;
  for (const float value :
       Gather(plain.values, RangesOf(plain.layout, Factors::kB))) {
    loss += 0.5 * (value - target) * (value - target);
  }
  return loss;
}

TEST(CoreGradientTest, IsTheDerivativeOfTheLoss) {
  Adapter adapter = MakeCoreAdapter();
  PullingEngine engine = EngineAt(adapter);
  CoreGradient cores(engine, adapter);
  const auto ranges = RangesOf(adapter.layout, Factors::kCore);
  const ParameterVector values = Gather(adapter.values, ranges);
  ASSERT_EQ(ParameterVector(cores.values().begin(), cores.values().end()),
            values);
  const Numbers numbers({3});
  const LabelledTokens* const example = &numbers.Get(0);
  EXPECT_NEAR(cores.AddGradient({&example, 1}, 0.5), LossAt(adapter, 3), 1e-4);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto loss = [&](float step) {
      ParameterVector moved = values;
      moved[i] += step;
      Adapter other = adapter;
      Scatter(moved, ranges, other.values);
      return LossAt(other, 3);
    };
    const double slope = (loss(0.01f) - loss(-0.01f)) / 0.02;
    EXPECT_NEAR(cores.gradient()[i], 0.5 * slope, 1e-3) << i;
  }
  // It adds, as every engine does.
  const float before = cores.gradient()[0];
  cores.AddGradient({&example, 1}, 0.5);
  EXPECT_FLOAT_EQ(cores.gradient()[0], 2 * before);
}

class CoreTrainingTest : public ::testing::Test {
 protected:
  CoreTrainingTest() {
    model_.vocab = 100;
    model_.context = 8;
    config_ = {.lr = 0.1,
               .steps = 40,
               .batch = 1,
               .micro_batch = 1,
               .grad_clip = 0,
               .optimizer = OptimizerKind::kSgd,
               .factors = Factors::kCore};
  }
  absl::StatusOr<TrainResult> Train(const Adapter& adapter) {
    PullingEngine engine = EngineAt(adapter);
    const StopToken stop{false};
    return TrainSegment({"pulling", model_, adapter, numbers_, config_}, stop,
                        {}, engine);
  }

  ModelConfig model_;
  TrainConfig config_;
  const Numbers numbers_{{3}};
  const Adapter adapter_ = MakeCoreAdapter();
};

// The nearest B R to a matrix T of threes is B B^T T: R = B^T T.
TEST_F(CoreTrainingTest, EndsWhereNoCoreIsNearer) {
  config_.steps = 400;
  const auto result = Train(adapter_);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->delta.size(), 8u);
  ParameterVector cores =
      Gather(adapter_.values, RangesOf(adapter_.layout, Factors::kCore));
  size_t at = 0;
  for (const size_t t : {1, 4}) {
    const auto& b = adapter_.layout.tensors()[t];
    for (int k = 0; k < 2; ++k) {
      double sum = 0;
      for (int64_t row = 0; row < b.shape[0]; ++row) {
        sum += 3 * adapter_.values[b.offset + row * 2 + k];
      }
      for (int j = 0; j < 2; ++j, ++at) {
        EXPECT_NEAR(cores[at] + result->delta[at], sum, 1e-4) << at;
      }
    }
  }
  EXPECT_LT(result->last_loss, result->first_loss);
}

TEST_F(CoreTrainingTest, CoresAndTheirFactorsGoTogether) {
  config_.factors = Factors::kB;
  EXPECT_THAT(std::string(Train(adapter_).status().message()),
              HasSubstr("nothing but those is trained"));
  config_.factors = Factors::kCore;
  EXPECT_THAT(std::string(Train(PlainAdapter(adapter_)).status().message()),
              HasSubstr("an adapter that has none"));
}

}  // namespace
}  // namespace edgetune
