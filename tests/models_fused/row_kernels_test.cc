#include <cstring>
#include <limits>

#include "tests/models_fused/kernels.h"

namespace edgetune::fused {
namespace {

class RowKernelsTest : public KernelsTest {};
INSTANTIATE_FOR_EACH_TARGET(RowKernelsTest);

constexpr float kEpsilon = 1e-5f;

TEST_P(RowKernelsTest, RunOnTheChosenTarget) {
  EXPECT_STREQ(VectorTarget(), hwy::TargetName(GetParam()));
}

// The nearest number of 8 significant bits, by arithmetic on doubles.
double NearestBFloat16(float value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), -126);
  const double quantum = std::ldexp(1, exponent - 7);
  const double nearest = std::nearbyint(value / quantum) * quantum;
  return std::abs(nearest) >= std::ldexp(1, 128)
             ? std::copysign(std::numeric_limits<double>::infinity(), value)
             : nearest;
}

TEST_P(RowKernelsTest, ConvertRoundsEveryUpperHalfToNearestEven) {
  std::vector<float> in;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      in.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  in.push_back(1);  // no multiple of lanes
  std::vector<BFloat16> out(in.size());
  Convert(in.data(), in.size(), out.data());
  for (size_t i = 0; i < in.size(); ++i) {
    if (std::isnan(in[i])) {
      ASSERT_TRUE(std::isnan(ToFloat(out[i]))) << i;
    } else {
      ASSERT_EQ(ToFloat(out[i]), NearestBFloat16(in[i])) << in[i];
    }
    ASSERT_EQ(out[i].bits, FromFloat<BFloat16>(in[i]).bits) << in[i];
  }
}

TEST_P(RowKernelsTest, ConvertToFloatCopies) {
  for (size_t width : kWidths) {
    Matrix<float> in(1, width), out(1, width);
    in.Spread(1, 9);
    Convert(in.rows().data, width, out.rows().data);
    EXPECT_EQ(in.Row(0), out.Row(0));
  }
}

TEST_P(RowKernelsTest, WidenKeepsEveryValue) {
  std::vector<BFloat16> in(0x10000 + 1);
  for (size_t i = 0; i < in.size(); ++i) in[i].bits = i;
  std::vector<float> out(in.size());
  Widen(in.data(), in.size(), out.data());
  for (size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), uint32_t{in[i].bits} << 16);
  }
}

template <typename T, typename C>
void CheckAddLowRank(size_t width) {
  Matrix<T> x(3, 5, 2);
  Matrix<float> b(5, width, 0);
  Matrix<C> before(3, width), y(3, width, 4);
  x.Spread(1, 2);
  b.Spread(2, 1);
  before.Spread(3, 1);
  y.Spread(3, 1);
  AddLowRank<T, C>(x, b, y);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < width; ++j) {
      double want = before(i, j);
      for (size_t k = 0; k < 5; ++k) want += x(i, k) * b(k, j);
      ExpectNear<C>(y(i, j), want, 10);
    }
  }
  y.ExpectGapsUntouched();
}

TEST_P(RowKernelsTest, AddLowRankAddsTheProduct) {
  for (size_t width : kWidths) {
    CheckAddLowRank<float, float>(width);
    CheckAddLowRank<BFloat16, float>(width);
    CheckAddLowRank<BFloat16, BFloat16>(width);
  }
}

template <typename T>
void CheckRowDots(size_t width) {
  Matrix<T> a(3, width), b(3, width, 0);
  a.Spread(1, 1);
  b.Spread(2, 1);
  float out[3];
  RowDots<T>(a, b, out);
  for (size_t i = 0; i < 3; ++i) {
    double sum = 0, size = 0;
    for (size_t j = 0; j < width; ++j) {
      sum += a(i, j) * b(i, j);
      size += std::abs(a(i, j) * b(i, j));
    }
    ExpectNear<float>(out[i], sum, size);
  }
}

TEST_P(RowKernelsTest, RowDotsSumProducts) {
  for (size_t width : kWidths) {
    CheckRowDots<float>(width);
    CheckRowDots<BFloat16>(width);
  }
}

TEST_P(RowKernelsTest, SumsDoNotDependOnAlignment) {
  std::vector<float> dots;
  for (size_t offset = 0; offset < 17; ++offset) {
    std::vector<float> memory(offset + 1000);
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (size_t i = offset; i < memory.size(); ++i) memory[i] = normal(random);
    const Rows<const float> row{memory.data() + offset, 1, 1000, 1000};
    dots.emplace_back();
    RowDots<float>(row, row, &dots.back());
  }
  EXPECT_EQ(dots, std::vector<float>(17, dots[0]));
}

// Row i of y from row i of x.
double Normalised(const std::vector<double>& x, double gain, size_t j) {
  double squares = 0;
  for (double value : x) squares += value * value;
  return x[j] / std::sqrt(squares / x.size() + kEpsilon) * gain;
}

template <typename T>
void CheckRmsNorm(size_t width) {
  Matrix<float> x(3, width, 5), gain(1, width);
  Matrix<T> y(3, width);
  x.Spread(1, 2);
  gain.Spread(2, 1);
  RmsNorm<T>(x, gain.rows().data, kEpsilon, y);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < width; ++j) {
      const double want = Normalised(x.Row(i), gain(0, j), j);
      ExpectNear<T>(y(i, j), want, std::abs(want));
    }
  }
  y.ExpectGapsUntouched();
}

TEST_P(RowKernelsTest, RmsNormDividesByTheRootMeanSquare) {
  for (size_t width : kWidths) {
    CheckRmsNorm<float>(width);
    CheckRmsNorm<BFloat16>(width);
  }
}

template <typename T>
void CheckRmsNormGradient(size_t width) {
  Matrix<T> dy(3, width, 1);
  Matrix<float> x(3, width), gain(1, width), before(3, width);
  Matrix<float> dx(3, width, 5);
  x.Spread(1, 2);
  dy.Spread(2, 1);
  gain.Spread(3, 1);
  before.Spread(4, 1);
  dx.Spread(4, 1);
  AddRmsNormGradient<T>(x, gain.rows().data, kEpsilon, dy, dx);
  for (size_t i = 0; i < 3; ++i) {
    const auto loss = [&](const std::vector<double>& row) {
      double sum = 0, squares = 0;
      for (double value : row) squares += value * value;
      const double rms = std::sqrt(squares / width + kEpsilon);
      for (size_t j = 0; j < width; ++j) {
        sum += row[j] / rms * gain(0, j) * dy(i, j);
      }
      return sum;
    };
    for (size_t j : SomeColumns(width)) {
      const double want = before(i, j) + Slope(loss, x.Row(i), j);
      ExpectNear<float>(dx(i, j), want, 4);
    }
  }
  dx.ExpectGapsUntouched();
}

TEST_P(RowKernelsTest, AddRmsNormGradientAddsTheSlopes) {
  for (size_t width : kWidths) {
    CheckRmsNormGradient<float>(width);
    CheckRmsNormGradient<BFloat16>(width);
  }
}

}  // namespace
}  // namespace edgetune::fused
