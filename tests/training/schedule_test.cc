#include "training/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TrainConfig Config(int64_t steps, int64_t rounds) {
  TrainConfig config;
  config.lr = 2;
  config.steps = steps;
  config.rounds = rounds;
  config.batch = 2;
  return config;
}

TEST(ScheduleTest, WarmUpRunsOverTheWholeRun) {
  TrainConfig config = Config(2, 3);
  config.warmup = 4;
  EXPECT_DOUBLE_EQ(LearningRate(config, 0), 0.5);
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 1.0);
  config.round = 1;
  EXPECT_DOUBLE_EQ(LearningRate(config, 1), 2.0);
  config.round = 2;
  EXPECT_DOUBLE_EQ(LearningRate(config, 0), 2.0);
}

// cos(0), cos(pi/4), cos(pi/2), cos(3 pi/4): 2 * (1 + cos) / 2.
TEST(ScheduleTest, CosineFallsOverTheWholeRun) {
  TrainConfig config = Config(2, 2);
  config.schedule = Schedule::kCosine;
  EXPECT_NEAR(LearningRate(config, 0), 2.0, 1e-12);
  EXPECT_NEAR(LearningRate(config, 1), 1.7071067811865475, 1e-12);
  config.round = 1;
  EXPECT_NEAR(LearningRate(config, 0), 1.0, 1e-12);
  EXPECT_NEAR(LearningRate(config, 1), 0.2928932188134524, 1e-12);
}

TEST(ScheduleTest, EveryExampleComesOnceBeforeAnyComesTwice) {
  const TrainConfig config = Config(3, 2);  // 12 draws of 6 examples
  std::vector<int64_t> seen;
  for (TrainConfig c = config; c.round < 2; ++c.round) {
    ExampleOrder order(9, 6);  // a round knows nothing of the one before
    for (int64_t step = 0; step < 3; ++step) {
      for (const int64_t i : order.Batch(c, step)) seen.push_back(i);
    }
  }
  const std::vector<int64_t> first(seen.begin(), seen.begin() + 6);
  const std::vector<int64_t> second(seen.begin() + 6, seen.end());
  EXPECT_THAT(first, UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(second, UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_NE(first, second);
}

TEST(ScheduleTest, TheSeedDecidesTheOrder) {
  const TrainConfig config = Config(1, 1);
  EXPECT_EQ(ExampleOrder(1, 1000).Batch(config, 0),
            ExampleOrder(1, 1000).Batch(config, 0));
  EXPECT_NE(ExampleOrder(1, 1000).Batch(config, 0),
            ExampleOrder(2, 1000).Batch(config, 0));
}

TEST(ScheduleTest, OneExampleFillsABatch) {
  EXPECT_THAT(ExampleOrder(1, 1).Batch(Config(1, 1), 0), ElementsAre(0, 0));
}

TEST(ScheduleTest, RefusesSettingsOutOfRange) {
  const auto refused = [](auto change) {
    TrainConfig config = Config(2, 2);
    change(config);
    return !CheckTrainConfig(config).ok();
  };
  EXPECT_FALSE(refused([](TrainConfig&) {}));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.steps = 0; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.batch = int64_t{1} << 40; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.micro_batch = 0; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.round = 2; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.round = -1; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.lr = -1; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.lr = NAN; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.grad_clip = INFINITY; }));
}

}  // namespace
}  // namespace edgetune
