#include "simulations/report/spread.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/simulations_report/rounding.h"

namespace edgetune {
namespace {

using testing::kRounding;

TEST(SpreadTest, PerplexityIsExpOfTheMeanOverAllTokens) {
  Measure measure;
  EXPECT_FALSE(measure.Perplexity().has_value());
  measure.Add(3 * std::log(2.0), 1);
  measure.Add(0, 2);
  EXPECT_NEAR(*measure.Perplexity(), 2, kRounding);
  measure.Add(1e6, 0);
  EXPECT_TRUE(std::isinf(*measure.Perplexity()));
}

// By hand: mean 4, squares of differences 9 + 1 + 0 + 16.
TEST(SpreadTest, FiguresAreThoseDoneByHand) {
  const auto spread = SpreadOf({8, 1, 4, 3});
  ASSERT_TRUE(spread.has_value());
  EXPECT_EQ(spread->clients, 4);
  EXPECT_NEAR(spread->mean, 4, kRounding);
  EXPECT_NEAR(spread->deviation, std::sqrt(26.0 / 4), kRounding);
  EXPECT_NEAR(spread->worst_decile, 8, kRounding);
  // x = 1/8, 1, 1/4, 1/3 = (3, 24, 6, 8) / 24: 41^2 / (4 * 685).
  EXPECT_NEAR(spread->jain, 1681.0 / 2740, kRounding);
}

TEST(SpreadTest, TheWorstTenthIsRoundedUp) {
  std::vector<double> perplexities;
  for (int i = 1; i <= 11; ++i) perplexities.push_back(i);
  EXPECT_NEAR(SpreadOf(perplexities)->worst_decile, 10.5, kRounding);
  perplexities.pop_back();
  EXPECT_NEAR(SpreadOf(perplexities)->worst_decile, 10, kRounding);
}

TEST(SpreadTest, OneClientIsNoSpread) {
  const auto spread = SpreadOf({5});
  EXPECT_EQ(spread->deviation, 0);
  EXPECT_EQ(spread->worst_decile, 5);
  EXPECT_EQ(spread->jain, 1);
  EXPECT_FALSE(SpreadOf({}).has_value());
}

TEST(SpreadTest, AnInfinitePerplexityIsNoNaN) {
  const double infinite = std::numeric_limits<double>::infinity();
  const auto spread = SpreadOf({infinite, 2});
  EXPECT_TRUE(std::isinf(spread->mean));
  EXPECT_TRUE(std::isinf(spread->deviation));
  EXPECT_NEAR(spread->jain, 0.5, kRounding);  // one of two is not served
  EXPECT_EQ(SpreadOf({infinite, infinite})->jain, 1);
  // exp(-1e300): one is served infinitely well, so the other not at all.
  EXPECT_NEAR(SpreadOf({0, 2})->jain, 0.5, kRounding);
}

// Properties that the paper states (section 3): in [1/n, 1], of any unit, k of
// n served alike and the others not at all give k/n.
TEST(SpreadTest, JainsIndexHasThePropertiesOfThePaper) {
  EXPECT_NEAR(*JainIndex({3, 3, 3}), 1, kRounding);
  EXPECT_NEAR(*JainIndex({0, 0, 0, 7}), 0.25, kRounding);
  EXPECT_NEAR(*JainIndex({2, 0, 2, 0, 2}), 0.6, kRounding);
  EXPECT_NEAR(*JainIndex({1, 2, 4}), *JainIndex({1e300, 2e300, 4e300}),
              kRounding);
  EXPECT_FALSE(JainIndex({}).has_value());
  EXPECT_FALSE(JainIndex({0, 0}).has_value());
}

TEST(SpreadTest, SumsStopAtTheLargest) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(SaturatedSum(most - 1, 1), most);
  EXPECT_EQ(SaturatedSum(most, most), most);
}

}  // namespace
}  // namespace edgetune
