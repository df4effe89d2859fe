#include <algorithm>
#include <limits>

#include "tests/models_fused/kernels.h"

namespace edgetune::fused {
namespace {

class SoftmaxKernelsTest : public KernelsTest {};
INSTANTIATE_FOR_EACH_TARGET(SoftmaxKernelsTest);

constexpr size_t kQueries = 5;
constexpr float kScale = 0.125f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// log of the sum of exponentials of scale * x[0 .. count).
double LogSum(const std::vector<double>& x, size_t count, double scale) {
  const double most = scale * *std::max_element(x.begin(), x.begin() + count);
  double sum = 0;
  for (size_t j = 0; j < count; ++j) sum += std::exp(scale * x[j] - most);
  return most + std::log(sum);
}

size_t Seen(size_t row, size_t first, size_t keys) {
  return std::min(first + row + 1, keys);
}

// Masks that begin at the first key, in the middle, and that hide nothing.
std::vector<size_t> Firsts(size_t keys) { return {0, 3, keys / 2, keys + 5}; }

template <typename T>
void CheckSoftmax(size_t keys, size_t first) {
  Matrix<float> scores(kQueries, keys);
  Matrix<T> p(kQueries, keys, 5);
  scores.Spread(1, 30);
  float log_sum[kQueries];
  CausalSoftmax<T>(scores, first, kScale, p, log_sum);
  for (size_t i = 0; i < kQueries; ++i) {
    const size_t seen = Seen(i, first, keys);
    const double want = LogSum(scores.Row(i), seen, kScale);
    ExpectNear<float>(log_sum[i], want, 4);
    for (size_t j = 0; j < keys; ++j) {
      const double probability =
          j < seen ? std::exp(kScale * scores(i, j) - want) : 0;
      ExpectNear<T>(p(i, j), probability, probability);
    }
  }
  p.ExpectGapsUntouched();
}

TEST_P(SoftmaxKernelsTest, CausalSoftmaxSeesNoLaterKey) {
  for (size_t keys : kWidths) {
    for (size_t first : Firsts(keys)) {
      CheckSoftmax<float>(keys, first);
      CheckSoftmax<BFloat16>(keys, first);
    }
  }
}

TEST_P(SoftmaxKernelsTest, WhatTheMaskHidesDoesNotMatter) {
  Matrix<float> scores(kQueries, 37);
  Matrix<float> p(kQueries, 37);
  scores.Each([](size_t i, size_t j) {
    return j > i + 10 ? std::numeric_limits<float>::quiet_NaN() : 1;
  });
  float log_sum[kQueries];
  CausalSoftmax<float>(scores, 10, 1, p, log_sum);
  for (size_t i = 0; i < kQueries; ++i) {
    EXPECT_NEAR(p(i, 0), 1.0 / (11 + i), 1e-7);
    EXPECT_NEAR(log_sum[i], 1 + std::log(11 + i), 1e-6);
  }
}

TEST_P(SoftmaxKernelsTest, BigScoresNeitherOverflowNorVanish) {
  for (float shift : {-3e4f, 3e4f}) {
    Matrix<float> scores(1, 21), p(1, 21);
    scores.Each([&](size_t, size_t j) { return shift + (j % 4); });
    float log_sum[1];
    CausalSoftmax<float>(scores, 20, 1, p, log_sum);
    const double want = LogSum(scores.Row(0), 21, 1);
    EXPECT_NEAR(log_sum[0], want, 2e-3);  // half a bit of 3e4
    for (size_t j = 0; j < 21; ++j) {
      const double probability = std::exp(scores(0, j) - want);
      ExpectNear<float>(p(0, j), probability, probability);
    }
  }
}

TEST_P(SoftmaxKernelsTest, TinyProbabilitiesKeepTheirPrecision) {
  Matrix<float> scores(1, 8701), p(1, 8701);
  scores.Each([](size_t, size_t j) { return j * -0.01f; });
  float log_sum[1];
  CausalSoftmax<float>(scores, 8700, 1, p, log_sum);
  const double want = LogSum(scores.Row(0), 8701, 1);
  for (size_t j = 0; j < 8701; ++j) {
    const double probability = std::exp(scores(0, j) - want);
    ExpectNear<float>(p(0, j), probability, probability + 1e-37);
  }
}

TEST_P(SoftmaxKernelsTest, ScoresFarBelowTheGreatestGetNothing) {
  Matrix<float> scores(1, 20001), p(1, 20001);
  scores.Each([](size_t, size_t j) { return j == 0 ? 0 : -80 - j * 0.01f; });
  scores.Set(0, 20000, -kInfinity);
  scores.Set(0, 19999, std::numeric_limits<float>::lowest());
  float log_sum[1];
  CausalSoftmax<float>(scores, 20000, 1, p, log_sum);
  EXPECT_EQ(log_sum[0], 0);
  for (size_t j = 1; j < 20001; ++j) {
    ASSERT_GE(p(0, j), 0) << scores(0, j);
    ASSERT_LE(p(0, j), scores(0, j) < -88 ? 0 : 2e-35) << scores(0, j);
  }
}

TEST_P(SoftmaxKernelsTest, CausalSoftmaxPassesNanOn) {
  for (size_t at : {0, 17, 36}) {
    Matrix<float> scores(1, 37), p(1, 37);
    scores.Spread(1, 1).Set(0, at, std::numeric_limits<float>::quiet_NaN());
    float log_sum[1];
    CausalSoftmax<float>(scores, 36, 1, p, log_sum);
    EXPECT_TRUE(std::isnan(log_sum[0])) << at;
    EXPECT_TRUE(std::isnan(p(0, at))) << at;
  }
}

// The sum of dp times the probabilities of one row of scores.
double Weighted(const std::vector<double>& scores, size_t seen,
                const std::vector<double>& dp) {
  const double log_sum = LogSum(scores, seen, kScale);
  double sum = 0;
  for (size_t j = 0; j < seen; ++j) {
    sum += dp[j] * std::exp(kScale * scores[j] - log_sum);
  }
  return sum;
}

template <typename T>
void CheckSoftmaxGradient(size_t keys, size_t first) {
  Matrix<float> scores(kQueries, keys), dp(kQueries, keys, 1);
  Matrix<T> p(kQueries, keys), ds(kQueries, keys, 5);
  scores.Spread(1, 30);
  dp.Spread(2, 1);
  float log_sum[kQueries], dots[kQueries];
  for (size_t i = 0; i < kQueries; ++i) {
    const size_t seen = Seen(i, first, keys);
    log_sum[i] = LogSum(scores.Row(i), seen, kScale);
    dots[i] = Weighted(scores.Row(i), seen, dp.Row(i));
  }
  CausalSoftmaxGradient<T>(scores, first, kScale, log_sum, dp, dots, p, ds);
  for (size_t i = 0; i < kQueries; ++i) {
    const size_t seen = Seen(i, first, keys);
    const auto loss = [&](const std::vector<double>& row) {
      return Weighted(row, seen, dp.Row(i));
    };
    for (size_t j : SomeColumns(keys)) {
      const double probability =
          j < seen ? std::exp(kScale * scores(i, j) - log_sum[i]) : 0;
      ExpectNear<T>(p(i, j), probability, probability);
      // An exact 0 beyond the mask, where the slope is one.
      ExpectNear<T>(ds(i, j), Slope(loss, scores.Row(i), j), probability);
    }
  }
  p.ExpectGapsUntouched();
  ds.ExpectGapsUntouched();
}

TEST_P(SoftmaxKernelsTest, CausalSoftmaxGradientIsTheSlope) {
  for (size_t keys : kWidths) {
    for (size_t first : Firsts(keys)) {
      CheckSoftmaxGradient<float>(keys, first);
      CheckSoftmaxGradient<BFloat16>(keys, first);
    }
  }
}

// The widths of the others and some beyond the block of 4096 that the kernel
// works by.
std::vector<size_t> Vocabularies() {
  std::vector<size_t> widths(std::begin(kWidths), std::end(kWidths));
  widths.insert(widths.end(), {4096, 4097, 9000});
  return widths;
}

template <typename T>
void CheckCrossEntropy(size_t width) {
  constexpr float kWeight = 0.37f;
  Matrix<float> logits(3, width);
  Matrix<T> gradient(3, width, 5);
  // Rising, so that later blocks have greater maxima.
  logits.Each([&](size_t i, size_t j) {
    return std::sin(1.0f + j * (i + 1)) * 10 + 20.0f * j / width;
  });
  const std::vector<int32_t> targets = {0, static_cast<int32_t>(width / 2),
                                        static_cast<int32_t>(width - 1)};
  float nll[3], again[3];
  CrossEntropy(logits.rows(), targets.data(), nll);
  CrossEntropyGradient<T>(logits, targets.data(), kWeight, again, gradient);
  for (size_t i = 0; i < 3; ++i) {
    const auto loss = [&](const std::vector<double>& row) {
      return LogSum(row, width, 1) - row[targets[i]];
    };
    ExpectNear<float>(nll[i], loss(logits.Row(i)), 30);
    EXPECT_EQ(again[i], nll[i]);
    std::vector<size_t> columns = SomeColumns(width);
    columns.push_back(targets[i]);
    for (size_t j : columns) {
      const double want = kWeight * Slope(loss, logits.Row(i), j);
      ExpectNear<T>(gradient(i, j), want, std::abs(want) + 1e-2);
    }
  }
  gradient.ExpectGapsUntouched();
}

TEST_P(SoftmaxKernelsTest, CrossEntropyGradientIsTheSlope) {
  for (size_t width : Vocabularies()) {
    CheckCrossEntropy<float>(width);
    CheckCrossEntropy<BFloat16>(width);
  }
}

TEST_P(SoftmaxKernelsTest, AnImpossibleTokenCostsNothingAndGetsNoGradient) {
  Matrix<float> logits(1, 10000), gradient(1, 10000);
  // The first block, which is seen before any finite number, is all -infinity.
  logits.Each([](size_t, size_t j) { return j < 5000 ? -kInfinity : 2; });
  const int32_t target = 9999;
  float nll;
  CrossEntropyGradient<float>(logits, &target, 1, &nll, gradient);
  EXPECT_NEAR(nll, std::log(5000), 1e-5);
  EXPECT_EQ(gradient(0, 17), 0);
  EXPECT_NEAR(gradient(0, 5000), 1.0 / 5000, 1e-9);
}

TEST_P(SoftmaxKernelsTest, CrossEntropyPassesNanOn) {
  for (size_t at : {0, 4100, 4999}) {
    Matrix<float> logits(1, 5000);
    logits.Spread(1, 1).Set(0, at, std::numeric_limits<float>::quiet_NaN());
    const int32_t target = 7;
    float nll;
    CrossEntropy(logits.rows(), &target, &nll);
    EXPECT_TRUE(std::isnan(nll)) << at;
  }
}

}  // namespace
}  // namespace edgetune::fused
