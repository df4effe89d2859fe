// Sums beside the plain loop that defines them: one llrint a coordinate.

#include "aggregation/exact_sum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::kInf;
using testing::kNaN;

constexpr double kBound = 64;

std::vector<int64_t> SumsOf(const ExactSum& sum) {
  std::vector<int64_t> sums;
  for (size_t i = 0; i < sum.size(); ++i) sums.push_back(sum.at(i));
  return sums;
}

void AddPlainly(const std::vector<float>& values, double factor,
                std::vector<int64_t>& sums) {
  for (size_t i = 0; i < values.size(); ++i) {
    sums[i] += std::llrint(double{values[i]} * factor);
  }
}

std::vector<float> RandomValues(size_t count, double size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(size * random.Normal()));
  }
  return values;
}

// Lengths about the blocks and vectors of the implementation, and factors with
// which terms are tiny, usual, next to 2^51 and up to 2^60.
TEST(ExactSumTest, GivesTheIntegersOfThePlainLoop) {
  for (const size_t count : {1, 7, 8, 9, 2047, 2048, 2049, 5000}) {
    ExactSum sum(count);
    std::vector<int64_t> plain(count, 0);
    uint64_t seed = 1;
    for (const double factor : {1e-3, 1.0, 1e9, 0x1p45 / 3, 0x1p50, 0x1p54}) {
      const std::vector<float> values = RandomValues(count, 0.5, ++seed);
      ASSERT_TRUE(sum.Add(values, factor, kBound));
      AddPlainly(values, factor, plain);
    }
    EXPECT_EQ(SumsOf(sum), plain) << count;
  }
}

TEST(ExactSumTest, RoundsTiesToEvenAsTheProcessorDoes) {
  const std::vector<float> values = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
  ExactSum sum(values.size());
  ASSERT_TRUE(sum.Add(values, 1, kBound));
  EXPECT_EQ(SumsOf(sum), (std::vector<int64_t>{0, 2, 2, 0, -2, -2}));
}

// On either side of 2^51 terms are rounded in different ways.
TEST(ExactSumTest, AgreesAtTheEdgeBetweenSmallAndLargeTerms) {
  const std::vector<float> values = {1.0f, -1.0f, std::nextafter(1.0f, 0.0f),
                                     std::nextafter(1.0f, 2.0f)};
  for (const double factor :
       {0x1p51, -0x1p51, std::nextafter(0x1p51, 0.0),
        std::nextafter(0x1p51, 0x1p52), 0x1p51 + 0.5, 0x1p51 - 0.5}) {
    ExactSum sum(values.size());
    std::vector<int64_t> plain(values.size(), 0);
    ASSERT_TRUE(sum.Add(values, factor, kBound));
    AddPlainly(values, factor, plain);
    EXPECT_EQ(SumsOf(sum), plain) << factor;
  }
}

TEST(ExactSumTest, AnythingUnusableAnywhereChangesNothing) {
  constexpr size_t kCount = 5000;
  for (const double factor : {1e9, 0x1p54}) {
    ExactSum sum(kCount);
    ASSERT_TRUE(sum.Add(RandomValues(kCount, 0.5, 3), factor, kBound));
    const std::vector<int64_t> before = SumsOf(sum);
    for (const float bad : {kNaN<float>, -kNaN<float>, kInf<float>,
                            -kInf<float>, 64.01f, -65.0f}) {
      for (const size_t place :
           {size_t{0}, size_t{2047}, size_t{2048}, size_t{4097}, kCount - 1}) {
        std::vector<float> values = RandomValues(kCount, 0.5, 4);
        values[place] = bad;
        EXPECT_FALSE(sum.Add(values, factor, kBound));
        ASSERT_EQ(SumsOf(sum), before) << bad << " at " << place;
      }
    }
  }
}

TEST(ExactSumTest, TheBoundItselfIsTaken) {
  ExactSum sum(2);
  EXPECT_TRUE(sum.Add(std::vector<float>{64.0f, -64.0f}, 0x1p54, kBound));
  EXPECT_EQ(SumsOf(sum),
            (std::vector<int64_t>{int64_t{1} << 60, -(int64_t{1} << 60)}));
}

TEST(ExactSumTest, MergesAsIfAllHadComeToOne) {
  ExactSum left(100), right(100), whole(100);
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const std::vector<float> values = RandomValues(100, 0.5, seed);
    ASSERT_TRUE((seed % 2 == 0 ? left : right).Add(values, 1e12, kBound));
    ASSERT_TRUE(whole.Add(values, 1e12, kBound));
  }
  left.Merge(right);
  EXPECT_EQ(SumsOf(left), SumsOf(whole));
}

}  // namespace
}  // namespace edgetune
