#include "models/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace edgetune {
namespace {

using ::testing::Key;
using ::testing::UnorderedElementsAre;

// exp: 1, 2, 4, 1 -> probabilities 1/8, 1/4, 1/2, 1/8.
const std::vector<float> kLogits = {0.0f, 0.6931472f, 1.3862944f, 0.0f};

std::map<int32_t, int> Draw(const GenerateOptions& options, int times) {
  Random random(7);
  std::map<int32_t, int> counts;
  for (int i = 0; i < times; ++i) {
    ++counts[SampleToken(kLogits, options, random)];
  }
  return counts;
}

TEST(SamplingTest, GreedyTakesTheFirstOfTheHighest) {
  Random random(1);
  const std::vector<float> logits = {1, 5, 5, 2};
  EXPECT_EQ(SampleToken(logits, {}, random), 1);
}

TEST(SamplingTest, FrequenciesFollowTheSoftmax) {
  GenerateOptions options;
  options.temperature = 1;
  auto counts = Draw(options, 8000);
  // Five standard deviations of a binomial with p = 1/2.
  EXPECT_NEAR(counts[2], 4000, 224);
  EXPECT_NEAR(counts[1], 2000, 194);
  EXPECT_NEAR(counts[0], 1000, 148);
}

TEST(SamplingTest, TopKKeepsTheHighest) {
  GenerateOptions options;
  options.temperature = 1;
  options.top_k = 2;
  EXPECT_THAT(Draw(options, 500), UnorderedElementsAre(Key(1), Key(2)));
}

TEST(SamplingTest, TopPKeepsTheFewestThatReachIt) {
  GenerateOptions options;
  options.temperature = 1;
  options.top_p = 0.5;
  EXPECT_THAT(Draw(options, 500), UnorderedElementsAre(Key(2)));
  options.top_p = 0.6;
  EXPECT_THAT(Draw(options, 500), UnorderedElementsAre(Key(1), Key(2)));
}

// vectors/sampling.json: what transformers leaves of the same logits.
TEST(SamplingTest, FrequenciesAreThoseThatTransformersStates) {
  std::ifstream in(EDGETUNE_SOURCE_DIR "/tests/models/vectors/sampling.json");
  const auto file = nlohmann::json::parse(in);
  const std::vector<int32_t> seen = file["seen"];
  for (const auto& wanted : file["cases"]) {
    GenerateOptions options;
    options.temperature = wanted["temperature"];
    options.top_k = wanted["top_k"];
    options.top_p = wanted["top_p"];
    std::vector<float> logits = file["logits"];
    PenaliseRepeats(seen, wanted["repeat_penalty"], logits);
    constexpr int kDraws = 40000;
    Random random(11);
    std::vector<int> counts(logits.size());
    for (int i = 0; i < kDraws; ++i) {
      ++counts[SampleToken(logits, options, random)];
    }
    for (size_t id = 0; id < counts.size(); ++id) {
      const double p = wanted["probabilities"][id];
      // Five standard deviations, of 972 counts: one in 1,800 runs by chance,
      // and the seed is fixed. What is cut away never comes.
      const double sigma = std::sqrt(kDraws * p * (1 - p));
      EXPECT_NEAR(counts[id], kDraws * p, p == 0 ? 0 : 5 * sigma + 1)
          << wanted << " token " << id;
    }
  }
}

TEST(SamplingTest, APenaltyOfOneChangesNothing) {
  std::vector<float> logits = kLogits;
  PenaliseRepeats(std::vector<int32_t>{0, 1}, 1, logits);
  EXPECT_EQ(logits, kLogits);
}

TEST(SamplingTest, TheSameSeedDrawsTheSame) {
  GenerateOptions options;
  options.temperature = 1;
  const auto draw = [&](uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) {
      ids.push_back(SampleToken(kLogits, options, random));
    }
    return ids;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(SamplingTest, RefusesOptionsOutOfRange) {
  const auto with = [](double temperature, int64_t top_k, double top_p) {
    GenerateOptions options;
    options.temperature = temperature;
    options.top_k = top_k;
    options.top_p = top_p;
    return CheckGenerateOptions(options).ok();
  };
  EXPECT_TRUE(with(0.7, 40, 0.9));
  EXPECT_FALSE(with(-1, 0, 1));
  EXPECT_FALSE(with(std::numeric_limits<double>::quiet_NaN(), 0, 1));
  EXPECT_FALSE(with(1, -1, 1));
  EXPECT_FALSE(with(1, 0, 0));
  EXPECT_FALSE(with(1, 0, 1.5));
  for (const double penalty : {0.0, -1.0, 11.0, std::nan("")}) {
    GenerateOptions options;
    options.repeat_penalty = penalty;
    EXPECT_FALSE(CheckGenerateOptions(options).ok()) << penalty;
  }
}

}  // namespace
}  // namespace edgetune
