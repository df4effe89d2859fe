#include "simulations/population/apportion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace edgetune {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;

using Weights = std::vector<double>;

// By hand: quotas 4.7, 2.8, 1.5 of 9 - the two whole parts that are left go to
// the fractions .8 and .7.
TEST(ApportionTest, GivesTheRestToTheLargestFractions) {
  EXPECT_THAT(Apportion(9, Weights{47, 28, 15}, 0), ElementsAre(5, 3, 1));
}

TEST(ApportionTest, CutsEquallyFromTheFirstOn) {
  EXPECT_THAT(Apportion(11, Weights{1, 1, 1, 1}, 1), ElementsAre(3, 3, 3, 2));
  EXPECT_THAT(Apportion(12, Weights{1, 1, 1, 1}, 1), ElementsAre(3, 3, 3, 3));
}

TEST(ApportionTest, RaisesSmallPartsFromTheLargest) {
  EXPECT_THAT(Apportion(20, Weights{97, 1, 1, 1}, 2), ElementsAre(14, 2, 2, 2));
  EXPECT_THAT(Apportion(6, Weights{1e12, 1e-12, 1}, 2), ElementsAre(2, 2, 2));
}

// Hamilton's method keeps quota: a part is its quota rounded down or up.
TEST(ApportionTest, SumsToTheTotalAndKeepsQuota) {
  Random random(1);
  for (int round = 0; round < 500; ++round) {
    Weights weights;
    const size_t count = 1 + random.Below(50);
    for (size_t i = 0; i < count; ++i) {
      weights.push_back(std::exp(3 * random.Normal()));
    }
    const size_t total = random.Below(100000);
    const auto parts = Apportion(total, weights, 0);
    EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), size_t{0}), total);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (size_t i = 0; i < parts.size(); ++i) {
      const double quota = static_cast<double>(total) * weights[i] / sum;
      // A billionth for the rounding of the quota itself.
      EXPECT_LT(std::abs(static_cast<double>(parts[i]) - quota), 1 + 1e-9);
    }
  }
}

TEST(ApportionTest, KeepsTheLeastAndTheSumForAnyWeights) {
  Random random(2);
  for (int round = 0; round < 500; ++round) {
    Weights weights;
    const size_t count = 1 + random.Below(50);
    for (size_t i = 0; i < count; ++i) {
      weights.push_back(std::exp(5 * random.Normal()));
    }
    const size_t least = random.Below(5);
    const size_t total = weights.size() * least + random.Below(100);
    const auto parts = Apportion(total, weights, least);
    EXPECT_THAT(parts, Each(Ge(least)));
    EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), size_t{0}), total);
  }
}

}  // namespace
}  // namespace edgetune
