#include "simulations/adversary/adversary_trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/factors.h"
#include "tests/client/fixture.h"
#include "tests/simulations_adversary/examples.h"

namespace edgetune {
namespace {

class AdversaryTrainerTest : public ::testing::Test {
 protected:
  AdversaryTrainerTest()
      : data_(examples_.Read({testing::Completion("one ", "1"),
                              testing::Completion("two ", "2")})),
        honest_(*engine_.MakeTrainer(examples_.model(), {})) {
    adapter_.spec = {.rank = 8, .alpha = 8, .targets = {"q_proj", "v_proj"}};
    adapter_.layout =
        *AdapterLayoutOf(examples_.model()->config(), adapter_.spec);
    adapter_.values = InitialAdapter(adapter_.layout, 1);
  }

  TrainResult Train(Trainer& trainer, const TrainConfig& config) {
    auto result = trainer.Train(adapter_, *data_, config, nullptr, stop_,
                                [](const TrainProgress&) {});
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }
  TrainerOf Honest() {
    return [this]() -> Trainer& { return *honest_; };
  }

  testing::Examples examples_;
  testing::FakeEngine engine_;
  const std::unique_ptr<ExampleSet> data_;
  const std::unique_ptr<Trainer> honest_;
  Adapter adapter_;
  StopToken stop_{false};
};

TEST_F(AdversaryTrainerTest, ScalesTheUpdateAndNothingElse) {
  const TrainConfig config = {.steps = 3, .seed = 5};
  const TrainResult honest = Train(*honest_, config);
  for (const double factor : {-1.0, 10.0}) {
    const auto liar = MakeScalingTrainer(factor, Honest());
    const TrainResult lie = Train(*liar, config);
    ASSERT_EQ(lie.delta.size(), honest.delta.size());
    for (size_t i = 0; i < lie.delta.size(); ++i) {
      EXPECT_EQ(lie.delta[i], static_cast<float>(factor * honest.delta[i]));
    }
    EXPECT_EQ(lie.last_loss, honest.last_loss);
    EXPECT_EQ(lie.steps, honest.steps);
  }
}

TEST_F(AdversaryTrainerTest, ScoresAreTheHonestOnes) {
  const auto honest = honest_->Evaluate(adapter_, *data_, 2, stop_);
  for (const auto& liar :
       {MakeScalingTrainer(-1, Honest()), MakeFreeRider(Honest())}) {
    const auto lie = liar->Evaluate(adapter_, *data_, 2, stop_);
    EXPECT_EQ(lie->nll_sum, honest->nll_sum);
    EXPECT_EQ(lie->tokens, honest->tokens);
    EXPECT_EQ(liar->precision(), honest_->precision());
  }
}

TEST_F(AdversaryTrainerTest, AFreeRiderDoesNotTrain) {
  const auto rider = MakeFreeRider(Honest());
  const TrainResult lie = Train(*rider, {.steps = 7, .batch = 1, .seed = 5});
  EXPECT_EQ(engine_.trainings, 0);
  EXPECT_EQ(lie.steps, 7);
  const auto first = honest_->Evaluate(adapter_, *data_, 1, stop_);
  EXPECT_EQ(lie.last_loss, first->nll_sum / static_cast<double>(first->tokens));
}

// n normal values: their mean has deviation s / sqrt(n), their mean square
// s^2 sqrt(2 / n); 6 deviations are not met by chance.
TEST_F(AdversaryTrainerTest, AFreeRidersUpdateIsSmallNoise) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const TrainResult lie =
        Train(*MakeFreeRider(Honest()), {.steps = 1, .seed = seed});
    const auto n = static_cast<double>(lie.delta.size());
    ASSERT_GT(n, 2000);
    double sum = 0, squares = 0;
    for (const float value : lie.delta) {
      sum += value / kFreeRiderDeviation;
      squares += std::pow(value / kFreeRiderDeviation, 2);
    }
    EXPECT_NEAR(sum / n, 0, 6 / std::sqrt(n));
    EXPECT_NEAR(squares / n, 1, 6 * std::sqrt(2 / n));
  }
}

TEST_F(AdversaryTrainerTest, AFreeRidersNoiseFollowsFromTheSegment) {
  const auto rider = MakeFreeRider(Honest());
  const auto delta = [&](uint64_t seed, Factors factors) {
    return Train(*rider, {.steps = 1, .seed = seed, .factors = factors}).delta;
  };
  EXPECT_EQ(delta(1, Factors::kBoth), delta(1, Factors::kBoth));
  EXPECT_NE(delta(1, Factors::kBoth), delta(2, Factors::kBoth));
  EXPECT_EQ(delta(1, Factors::kB).size(),
            LayoutOf(adapter_.layout, Factors::kB).size());
}

TEST_F(AdversaryTrainerTest, AStopEndsAFreeRiderToo) {
  stop_ = true;
  const auto result =
      MakeFreeRider(Honest())->Train(adapter_, *data_, {}, nullptr, stop_, {});
  EXPECT_TRUE(absl::IsCancelled(result.status()));
}

}  // namespace
}  // namespace edgetune
