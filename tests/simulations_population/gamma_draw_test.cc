#include "simulations/population/gamma_draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "tests/simulations_population/seeds.h"
#include "tests/simulations_population/vectors.h"

namespace edgetune {
namespace {

using testing::kSeeds;

constexpr size_t kDraws = 20000;

std::vector<double> DrawLogs(double shape, uint64_t seed) {
  Random random(seed);
  std::vector<double> out;
  for (size_t i = 0; i < kDraws; ++i) {
    out.push_back(DrawLogGamma(shape, random));
  }
  return out;
}

// make_vectors.py: quantiles of SciPy.
TEST(DrawLogGammaTest, FollowsTheDistributionThatSciPyGives) {
  const auto vectors = testing::ReadVectors("laws.json");
  const std::vector<double> levels = vectors["levels"];
  // Dvoretzky-Kiefer-Wolfowitz with Massart's constant: a distance above
  // sqrt(ln(2 / p) / (2 n)) has at most the chance p; p = 1e-7 for each of 40
  // samples, 4e-6 together.
  const double bound = std::sqrt(std::log(2 / 1e-7) / (2.0 * kDraws));
  for (const auto& one : vectors["gamma"]) {
    for (const uint64_t seed : kSeeds) {
      std::vector<double> logs = DrawLogs(one["shape"], seed);
      std::ranges::sort(logs);
      for (size_t i = 0; i < levels.size(); ++i) {
        const double quantile = one["quantiles"][i];
        const auto below = std::ranges::upper_bound(logs, quantile);
        const auto count = static_cast<double>(below - logs.begin());
        EXPECT_NEAR(count / kDraws, levels[i], bound)
            << one["shape"] << " seed " << seed;
      }
    }
  }
}

// The mean of log G is digamma(shape), its variance trigamma(shape).
TEST(DrawLogGammaTest, HasTheMeanAndVarianceOfItsLogarithm) {
  const auto vectors = testing::ReadVectors("laws.json");
  for (const auto& one : vectors["gamma"]) {
    for (const uint64_t seed : kSeeds) {
      const double mean = one["mean_log"], variance = one["variance_log"];
      double sum = 0, squares = 0;
      for (const double x : DrawLogs(one["shape"], seed)) {
        sum += x - mean;
        squares += (x - mean) * (x - mean);
      }
      // Six standard errors: 2e-9 for a normal sum, below 1e-7 for one whose
      // terms are exponential, which is the most skewed shape there is here.
      // Kurtosis is at most the exponential's 9: squares deviate by sqrt(8).
      const double error = 6 / std::sqrt(kDraws);
      EXPECT_NEAR(sum / kDraws, 0, error * std::sqrt(variance)) << one["shape"];
      EXPECT_NEAR(squares / kDraws / variance, 1, error * std::sqrt(8.0))
          << one["shape"];
    }
  }
}

// Gamma(shape) itself: mean and variance are the shape.
TEST(DrawLogGammaTest, HasTheMeanAndVarianceOfTheGammaDistribution) {
  for (const double shape : {0.9, 1.7, 8.0, 250.0}) {
    for (const uint64_t seed : kSeeds) {
      double sum = 0, squares = 0;
      for (const double x : DrawLogs(shape, seed)) {
        sum += std::exp(x) - shape;
        squares += (std::exp(x) - shape) * (std::exp(x) - shape);
      }
      // Six standard errors; the kurtosis is 3 + 6 / shape.
      const double error = 6 / std::sqrt(kDraws);
      EXPECT_NEAR(sum / kDraws, 0, error * std::sqrt(shape)) << shape;
      EXPECT_NEAR(squares / kDraws / shape, 1, error * std::sqrt(2 + 6 / shape))
          << shape;
    }
  }
}

TEST(DrawLogGammaTest, StaysFiniteForTheSmallestShapes) {
  Random random(9);
  for (const double shape : {1e-13, 1e-9, 1e9}) {
    for (int i = 0; i < 1000; ++i) {
      EXPECT_TRUE(std::isfinite(DrawLogGamma(shape, random))) << shape;
    }
  }
}

}  // namespace
}  // namespace edgetune
