// What a segment minimises, on a problem whose answer can be written down: half
// the squared distance of each value from a target.

#include "training/local_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "tests/training/pulling_engine.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::Numbers;
using testing::PullingEngine;

class LocalTrainingTest : public ::testing::Test {
 protected:
  LocalTrainingTest() {
    model_.vocab = 100;
    model_.context = 8;
    adapter_.spec = {.rank = 1, .alpha = 2, .targets = {"q_proj"}};
    adapter_.layout =
        *ParameterLayout::Make({{"lora_A", {2}}, {"lora_B", {1}}});
    adapter_.values = {1, -2, 0.5f};
    config_ = {.lr = 0.1,
               .steps = 20,
               .batch = 2,
               .micro_batch = 2,
               .grad_clip = 0,
               .optimizer = OptimizerKind::kSgd};
  }

  absl::StatusOr<TrainResult> TryTrain() {
    engine_.emplace(adapter_.values);
    return TrainSegment({"pulling", model_, adapter_, numbers_, config_},
                        StopToken{false}, {}, *engine_);
  }
  TrainResult Train() {
    auto result = TryTrain();
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  ModelConfig model_;
  Adapter adapter_;
  Numbers numbers_ = Numbers({5, 5, 5, 5});
  TrainConfig config_;
  std::optional<PullingEngine> engine_;
};

// Gradient descent on 1/2 (w - c)^2 + mu/2 (w - w0)^2 from w0: after k steps
// w - w0 = (c - w0) (1 - (1 - lr (1 + mu))^k) / (1 + mu).
TEST_F(LocalTrainingTest, ProxFollowsItsClosedForm) {
  for (const double mu : {0.25, 1.0, 4.0}) {
    config_.prox_mu = mu;
    const TrainResult result = Train();
    const double left = std::pow(1 - config_.lr * (1 + mu), config_.steps);
    for (size_t i = 0; i < 3; ++i) {
      const double gap = 5 - adapter_.values[i];
      // 20 steps of float32 arithmetic on values near 5.
      EXPECT_NEAR(result.delta[i], gap * (1 - left) / (1 + mu), 1e-5) << mu;
    }
  }
}

// One step from the incoming adapter, where the term has no gradient yet.
TEST_F(LocalTrainingTest, ProxDoesNotMoveTheFirstStep) {
  config_.steps = 1;
  const ParameterVector plain = Train().delta;
  config_.prox_mu = 3;
  EXPECT_EQ(Train().delta, plain);
}

TEST_F(LocalTrainingTest, ALargeMuHoldsTheAdapterWhereItWas) {
  config_.lr = 1e-4;
  config_.steps = 2000;
  double before = INFINITY;
  for (const double mu : {0.0, 1.0, 10.0, 100.0, 1000.0}) {
    config_.prox_mu = mu;
    const double moved = std::abs(Train().delta[1]);
    EXPECT_LT(moved, before) << mu;
    before = moved;
  }
  EXPECT_LT(before, 7.0 / 1000);  // of the 7 to its target
}

TEST_F(LocalTrainingTest, MuOfZeroIsPlainToTheBit) {
  for (const OptimizerKind kind :
       {OptimizerKind::kAdamW, OptimizerKind::kSgd}) {
    config_.optimizer = kind;
    config_.prox_mu = 0;
    const TrainResult plain = Train();
    config_.prox_mu = 1e-30;  // the term is there, and rounds to nothing
    EXPECT_EQ(Train().delta, plain.delta);
    EXPECT_EQ(Train().last_loss, plain.last_loss);
  }
}

// The clipped step is lr * limit long in the direction of all of the gradient.
TEST_F(LocalTrainingTest, ClippingSeesTheProximalTerm) {
  numbers_ = Numbers({0});
  config_ = {.lr = 1,
             .steps = 2,
             .batch = 1,
             .grad_clip = 1e-3,
             .optimizer = OptimizerKind::kSgd,
             .prox_mu = 1e4};
  adapter_.values = {1, 0, 0};
  // First -1e-3 towards 0; then the gradient is 0.999 + 1e4 * -1e-3 < 0: back.
  // Clipping before the term would make a step of about -1e-3 + 10.
  EXPECT_NEAR(Train().delta[0], 0, 1e-6);
}

TEST_F(LocalTrainingTest, LossesAreWithoutTheProximalTerm) {
  config_.steps = 2;
  config_.prox_mu = 3;
  const TrainResult result = Train();
  const double first = (16 + 49 + 20.25) / 2;
  EXPECT_NEAR(result.first_loss, first, 1e-4);
  EXPECT_NEAR(result.last_loss, first * 0.9 * 0.9, 1e-4);
}

TEST_F(LocalTrainingTest, EpochsTakeEveryExampleExactlySoOften) {
  numbers_ = Numbers({3, 4, 5, 6, 7, 8, 9});
  config_.epochs = 3;
  config_.batch = 4;
  config_.steps = EpochSteps(config_, 7);
  const TrainResult result = Train();
  EXPECT_EQ(result.steps, 6);        // 21 examples in batches of 4
  EXPECT_EQ(result.tokens, 21 * 2);  // of two tokens each
  std::map<int32_t, int> taken;
  for (const int32_t target : engine_->seen) ++taken[target];
  EXPECT_EQ(taken.size(), 7u);
  for (const auto& [target, times] : taken) EXPECT_EQ(times, 3) << target;
}

// A step's gradient is the mean over the examples that it has, also if fewer.
TEST_F(LocalTrainingTest, AShortBatchIsItsOwnMean) {
  numbers_ = Numbers({5, 5, 5});
  config_ = {.lr = 0.5,
             .steps = 1,
             .epochs = 1,
             .batch = 8,
             .micro_batch = 2,
             .grad_clip = 0,
             .optimizer = OptimizerKind::kSgd};
  EXPECT_NEAR(Train().delta[1], 0.5 * 7, 1e-6);
}

TEST_F(LocalTrainingTest, MoreStepsThanTheEpochsNeedAreRefused) {
  config_.epochs = 3;
  config_.steps = 7;  // 12 examples in batches of 2
  const absl::Status status = TryTrain().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("7 steps"));
}

// From the same start, target and rate: buffers of 1, 1 + m, ... times the gap
// would be the way of a constant gradient; here one step shows the first two.
TEST_F(LocalTrainingTest, MomentumIsKeptWithinASegmentAlone) {
  config_ = {.lr = 0.1,
             .steps = 2,
             .batch = 1,
             .grad_clip = 0,
             .optimizer = OptimizerKind::kSgd,
             .momentum = 0.5};
  const ParameterVector delta = Train().delta;
  // b1 = -4, w = 1.4; b2 = -3.6 - 2 = -5.6, w = 1.96.
  EXPECT_NEAR(delta[0], 0.96, 1e-6);
  EXPECT_EQ(Train().delta, delta);
}

}  // namespace
}  // namespace edgetune
