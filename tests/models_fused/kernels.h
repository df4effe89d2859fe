#ifndef EDGETUNE_TESTS_MODELS_FUSED_KERNELS_H_
#define EDGETUNE_TESTS_MODELS_FUSED_KERNELS_H_

// What the tests of the kernels share: a fixture that runs under every
// instruction set of this machine, matrices that notice a write beside them,
// and derivatives taken from nothing but the function.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "models/fused/kernels.h"

namespace edgetune::fused {

// The parameter is a target of Highway's, and what the kernels run on.
class KernelsTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

 private:
  static void Choose(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().DeInit();
  }
};

inline std::string TargetOf(const ::testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

#define INSTANTIATE_FOR_EACH_TARGET(suite) \
  INSTANTIATE_TEST_SUITE_P(                \
      EachTarget, suite,                   \
      ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), TargetOf)

// Less than, equal to and beyond a vector's lanes; a model's; no multiple.
inline const size_t kWidths[] = {1, 7, 16, 64, 576, 1000};

// Rows that lie apart, aligned to nothing. What lies between them must stay
// as it was; before the first and behind the last begins other memory, which
// the address sanitizer watches.
template <typename T>
class Matrix {
 public:
  Matrix(size_t rows, size_t width, size_t gap = 3)
      : data_((rows - 1) * (width + gap) + width, FromFloat<T>(kUntouched)),
        view_{data_.data(), rows, width, width + gap} {}
  Matrix(const Matrix&) = delete;

  // Evenly spread in [-range, range].
  Matrix& Spread(uint32_t seed, float range) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> values(-range, range);
    return Each([&](size_t, size_t) { return values(random); });
  }
  Matrix& Each(const std::function<float(size_t, size_t)>& value) {
    for (size_t i = 0; i < view_.rows; ++i) {
      for (size_t j = 0; j < view_.width; ++j) Set(i, j, value(i, j));
    }
    return *this;
  }
  void Set(size_t i, size_t j, float value) {
    view_.row(i)[j] = FromFloat<T>(value);
  }

  double operator()(size_t i, size_t j) const {
    return ToFloat(view_.row(i)[j]);
  }
  std::vector<double> Row(size_t i) const {
    std::vector<double> row(view_.width);
    for (size_t j = 0; j < row.size(); ++j) row[j] = (*this)(i, j);
    return row;
  }
  const Rows<T>& rows() const { return view_; }
  operator Rows<T>() const { return view_; }
  operator Rows<const T>() const { return view_; }

  void ExpectGapsUntouched() const {
    for (size_t i = 0; i + 1 < view_.rows; ++i) {
      for (size_t j = view_.width; j < view_.stride; ++j) {
        EXPECT_EQ((*this)(i, j), kUntouched) << "row " << i << ", " << j;
      }
    }
  }

 private:
  static constexpr float kUntouched = 0.15625f;  // exact in either T
  std::vector<T> data_;
  Rows<T> view_;
};

// Kernels compute in float32 and round once to T. Rounding to the 8 bits of a
// BFloat16 moves a value by up to 2^-8 of itself; the float32 operations, their
// few dozen roundings of 6e-8 included, by up to 3e-6 of the greatest
// `magnitude` that takes part.
template <typename T>
void ExpectNear(double got, double want, double magnitude) {
  const double rounding = std::is_same_v<T, BFloat16> ? std::ldexp(1, -8) : 0;
  EXPECT_NEAR(got, want, rounding * std::abs(want) + 3e-6 * magnitude);
}

// df/dx[j] by central differences: with f in double and of third derivatives
// near 1 its own error is below 1e-8.
inline double Slope(const std::function<double(const std::vector<double>&)>& f,
                    std::vector<double> x, size_t j) {
  constexpr double kStep = 1e-4;
  const double at = x[j];
  x[j] = at + kStep;
  const double above = f(x);
  x[j] = at - kStep;
  return (above - f(x)) / (2 * kStep);
}

// About a dozen columns of a width, the first and the last among them.
inline std::vector<size_t> SomeColumns(size_t width) {
  std::vector<size_t> columns;
  for (size_t j = 0; j < width; j += width / 12 + 1) columns.push_back(j);
  columns.push_back(width - 1);
  return columns;
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_TESTS_MODELS_FUSED_KERNELS_H_
