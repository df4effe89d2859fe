#include <algorithm>
#include <limits>

#include "tests/models_fused/kernels.h"
#include "tests/testing/not_finite.h"

namespace edgetune::fused {
namespace {

using testing::kInf;

class SoftmaxKernelsTest : public KernelsTest {};
INSTANTIATE_FOR_EACH_TARGET(SoftmaxKernelsTest);

constexpr size_t kQueries = 5;
constexpr float kScale = 0.125f;

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

// CausalSoftmax, with the scores left as they are to compare with.
template <typename T>
void Softmax(const Matrix<float>& scores, size_t first, float scale,
             const Rows<T>& p, float* log_sum) {
  Matrix<float> work(scores.rows().rows, scores.rows().width);
  work.Each([&](size_t i, size_t j) { return scores(i, j); });
  CausalSoftmax<T>(work, first, scale, p, log_sum);
  work.ExpectGapsUntouched();
}

template <typename T>
void CheckSoftmax(size_t keys, size_t first) {
  Matrix<float> scores(kQueries, keys);
  Matrix<T> p(kQueries, keys, 5);
  scores.Spread(1, 30);
  float log_sum[kQueries];
  Softmax<T>(scores, first, kScale, p, log_sum);
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
  Softmax<float>(scores, 10, 1, p, log_sum);
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
    Softmax<float>(scores, 20, 1, p, log_sum);
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
  Softmax<float>(scores, 8700, 1, p, log_sum);
  const double want = LogSum(scores.Row(0), 8701, 1);
  for (size_t j = 0; j < 8701; ++j) {
    const double probability = std::exp(scores(0, j) - want);
    ExpectNear<float>(p(0, j), probability, probability + 1e-37);
  }
}

TEST_P(SoftmaxKernelsTest, ScoresFarBelowTheGreatestGetNothing) {
  Matrix<float> scores(1, 20001), p(1, 20001);
  scores.Each([](size_t, size_t j) { return j == 0 ? 0 : -80 - j * 0.01f; });
  scores.Set(0, 20000, -kInf<float>);
  scores.Set(0, 19999, std::numeric_limits<float>::lowest());
  float log_sum[1];
  Softmax<float>(scores, 20000, 1, p, log_sum);
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
    Softmax<float>(scores, 36, 1, p, log_sum);
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

// One row of each: what AddSoftmaxColumns keeps and gives, part after part of
// at most `part` columns.
struct Columns {
  float most = std::numeric_limits<float>::lowest(), sum = 0, logit = 0;
  float collected = 0;  // of the exps, had they been added up
  std::vector<double> exps;
};

template <typename T>
Columns Add(const Matrix<float>& logits, int32_t target, size_t part) {
  Columns out;
  const size_t width = logits.rows().width;
  for (size_t begin = 0; begin < width; begin += part) {
    const size_t n = std::min(part, width - begin);
    Matrix<T> exps(1, n);
    const Rows<const float> columns = {logits.rows().data + begin, 1, n, n};
    AddSoftmaxColumns<T>(columns, &target, static_cast<int32_t>(begin),
                         {&out.most, &out.sum, &out.logit},
                         {&out.collected, 1, 1, 1}, exps);
    for (const double e : exps.Row(0)) {
      out.collected += static_cast<float>(e);
      out.exps.push_back(e);
    }
  }
  return out;
}

template <typename T>
void CheckSoftmaxColumns(size_t width, size_t part) {
  Matrix<float> logits(1, width);
  // Rising, so that later parts have greater maxima.
  logits.Each([&](size_t, size_t j) {
    return std::sin(1.0f + j) * 10 + 20.0f * j / width;
  });
  const std::vector<double> row = logits.Row(0);
  for (const size_t target : {size_t{0}, width / 2, width - 1}) {
    const Columns got = Add<T>(logits, static_cast<int32_t>(target), part);
    EXPECT_EQ(got.logit, logits(0, target));
    const double nll = std::log(got.sum) + (got.most - got.logit);
    ExpectNear<float>(nll, LogSum(row, width, 1) - row[target], 30);
    // Everything but the target's share, at the last maximum.
    const double others = got.sum - std::exp(got.logit - got.most);
    EXPECT_NEAR(got.collected, others,
                (std::is_same_v<T, float> ? 1e-5 : 4e-3) * got.sum);
    EXPECT_EQ(got.exps[target], 0);
  }
}

TEST_P(SoftmaxKernelsTest, ColumnsInPartsMakeOneSoftmax) {
  for (const size_t width : kWidths) {
    for (const size_t part : {size_t{1}, size_t{33}, size_t{1000}}) {
      CheckSoftmaxColumns<float>(width, part);
      CheckSoftmaxColumns<BFloat16>(width, part);
    }
  }
}

TEST_P(SoftmaxKernelsTest, ExpsAreLeftOutWhereNobodyWantsThem) {
  Matrix<float> logits(1, 100);
  logits.Spread(1, 5);
  const int32_t target = 60;
  Columns with = Add<float>(logits, target, 100), without;
  AddSoftmaxColumns<float>(logits.rows(), &target, 0,
                           {&without.most, &without.sum, &without.logit}, {},
                           {});
  EXPECT_EQ(without.sum, with.sum);
  EXPECT_EQ(without.logit, with.logit);
}

TEST_P(SoftmaxKernelsTest, AnImpossibleTokenHasNoShare) {
  Matrix<float> logits(1, 1000);
  // Whole parts, seen before any finite number, are -infinity.
  logits.Each([](size_t, size_t j) { return j < 500 ? -kInf<float> : 2; });
  const Columns got = Add<float>(logits, 999, 100);
  EXPECT_NEAR(std::log(got.sum) + (got.most - got.logit), std::log(500), 1e-5);
  EXPECT_EQ(got.exps[17], 0);
  EXPECT_EQ(got.exps[700], 1);
}

TEST_P(SoftmaxKernelsTest, NanIsPassedOn) {
  for (const size_t at : {0, 410, 499}) {
    Matrix<float> logits(1, 500);
    logits.Spread(1, 1).Set(0, at, std::numeric_limits<float>::quiet_NaN());
    EXPECT_TRUE(std::isnan(Add<float>(logits, 7, 100).sum)) << at;
  }
}

}  // namespace
}  // namespace edgetune::fused
