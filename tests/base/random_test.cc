#include "base/random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"

namespace edgetune {
namespace {

// First outputs of SplitMix64 for seed 1234567: the vector that Rosetta Code
// gives for the algorithm ("Pseudo-random numbers/Splitmix64").
TEST(RandomTest, MatchesTheSplitMix64Vector) {
  Random random(1234567);
  for (uint64_t expected :
       {6457827717110365317ull, 3203168211198807973ull, 9817491932198370423ull,
        4593380528125082431ull, 16408922859458223821ull}) {
    EXPECT_EQ(random.Next(), expected);
  }
}

TEST(RandomTest, DrawsBelowItsBoundAndReachesEveryValue) {
  Random random(1);
  std::vector<int> counts(7, 0);
  for (int i = 0; i < 7000; ++i) ++counts.at(random.Below(7));
  // Binomial(7000, 1/7): standard deviation 29.3; five of them.
  for (int count : counts) EXPECT_NEAR(count, 1000, 147);
  EXPECT_EQ(random.Below(1), 0u);
}

TEST(RandomTest, DrawsUniformNumbersInTheUnitInterval) {
  Random random(2);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double x = random.Uniform();
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
  }
  // Standard error 0.0029; five of them.
  EXPECT_NEAR(sum / 10000, 0.5, 0.0145);
}

TEST(RandomTest, DrawsNormalNumbersOfMeanZeroAndVarianceOne) {
  Random random(3);
  double sum = 0, squares = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.Normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  // Standard errors 0.0071 and 0.01; five of them.
  EXPECT_NEAR(sum / kDraws, 0, 0.036);
  EXPECT_NEAR(squares / kDraws, 1, 0.05);
}

TEST(RandomTest, SplitsWithoutRegardToWhatWasDrawn) {
  Random fresh(9), used(9);
  for (int i = 0; i < 5; ++i) used.Next();
  EXPECT_EQ(fresh.Split("shuffle", 2).Next(), used.Split("shuffle", 2).Next());
}

TEST(RandomTest, SplitsIntoStreamsThatDiffer) {
  const Random root(9);
  const uint64_t first = root.Split("a").Next();
  EXPECT_NE(first, root.Split("b").Next());
  EXPECT_NE(first, root.Split("a", 1).Next());
  EXPECT_NE(first, root.Split("").Next());
  EXPECT_NE(first, Random(10).Split("a").Next());
  EXPECT_NE(root.Split("ab").Next(), root.Split("a").Split("b").Next());
}

TEST(RandomTest, ShufflesIntoAPermutationFixedBySeed) {
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  std::vector<int> first = items, second = items;
  Random a(4), b(4);
  a.Shuffle(first);
  b.Shuffle(second);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, items);
  std::sort(first.begin(), first.end());
  EXPECT_EQ(first, items);
}

}  // namespace
}  // namespace edgetune
