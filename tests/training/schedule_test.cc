#include "training/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
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

TrainConfig Epochs(int64_t epochs, int64_t examples) {
  TrainConfig config = Config(1, 2);
  config.epochs = epochs;
  config.batch = 4;
  config.steps = EpochSteps(config, examples);
  return config;
}

// Batches of a round, one after the other.
std::vector<std::vector<int64_t>> BatchesOf(const TrainConfig& config,
                                            int64_t examples) {
  std::vector<std::vector<int64_t>> batches;
  ExampleOrder order(9, examples);
  for (int64_t step = 0; step < config.steps; ++step) {
    batches.push_back(order.Batch(config, step));
  }
  return batches;
}

TEST(ScheduleTest, EpochsTakeEveryExampleExactlySoOften) {
  for (const int64_t examples : {1, 3, 4, 7, 8, 30}) {
    for (const int64_t epochs : {1, 2, 5}) {
      TrainConfig config = Epochs(epochs, examples);
      for (config.round = 0; config.round < 2; ++config.round) {
        std::vector<int64_t> taken(static_cast<size_t>(examples));
        const auto batches = BatchesOf(config, examples);
        for (const auto& batch : batches) {
          EXPECT_FALSE(batch.empty());
          for (const int64_t i : batch) ++taken[static_cast<size_t>(i)];
        }
        EXPECT_THAT(taken, ::testing::Each(epochs));
        EXPECT_EQ(std::ssize(batches), (epochs * examples + 3) / 4);
      }
    }
  }
}

// 14 examples in batches of 4: the fourth batch has 2.
TEST(ScheduleTest, OnlyTheLastBatchOfAllEpochsIsShort) {
  const auto batches = BatchesOf(Epochs(2, 7), 7);
  ASSERT_EQ(batches.size(), 4u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(batches[i].size(), 4u);
  EXPECT_EQ(batches[3].size(), 2u);
}

TEST(ScheduleTest, EveryEpochOfEveryRoundHasItsOwnOrder) {
  TrainConfig config = Epochs(2, 40);
  std::set<std::vector<int64_t>> orders;
  for (config.round = 0; config.round < 2; ++config.round) {
    std::vector<int64_t> all;
    for (const auto& batch : BatchesOf(config, 40)) {
      all.insert(all.end(), batch.begin(), batch.end());
    }
    orders.insert({all.begin(), all.begin() + 40});
    orders.insert({all.begin() + 40, all.end()});
  }
  EXPECT_EQ(orders.size(), 4u);
}

// A device of 7 examples and one of 70 at the same share of the run.
TEST(ScheduleTest, WithEpochsTheRateFollowsTheShareOfTheRun) {
  TrainConfig small = Epochs(4, 7), large = Epochs(4, 70);  // 7 and 70 steps
  for (TrainConfig* config : {&small, &large}) {
    config->schedule = Schedule::kCosine;
    config->warmup = 2;  // of 8 passes
  }
  EXPECT_DOUBLE_EQ(LearningRate(small, 0), 2.0 / 4);  // 3.5 steps, rounded up
  EXPECT_DOUBLE_EQ(LearningRate(large, 0), 2.0 / 35);
  EXPECT_DOUBLE_EQ(LearningRate(large, 34), 2.0);
  small.round = large.round = 1;
  for (int64_t step = 0; step < 7; ++step) {
    // Rounding the warm-up moves the small one's cosine by half of 10 steps.
    EXPECT_NEAR(LearningRate(small, step), LearningRate(large, 10 * step), 0.1);
  }
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
  EXPECT_TRUE(refused([](TrainConfig& c) { c.epochs = -1; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.momentum = 1; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.momentum = NAN; }));
  EXPECT_TRUE(refused([](TrainConfig& c) { c.prox_mu = -1; }));
}

}  // namespace
}  // namespace edgetune
