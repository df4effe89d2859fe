#include <complex>
#include <limits>

#include "tests/models_fused/kernels.h"

namespace edgetune::fused {
namespace {

class ActivationKernelsTest : public KernelsTest {};
INSTANTIATE_FOR_EACH_TARGET(ActivationKernelsTest);

constexpr size_t kTokens = 3, kHeads = 2;

// Angles of kTokens tokens, as the kernel wants them.
struct Angles {
  explicit Angles(size_t half) : angle(kTokens, half, 0) {
    angle.Spread(9, 3);
    for (size_t i = 0; i < kTokens * half; ++i) {
      cosine.push_back(std::cos(angle.rows().data[i]));
      sine.push_back(std::sin(angle.rows().data[i]));
    }
  }
  Matrix<float> angle;
  std::vector<float> cosine, sine;
};

template <typename T>
void CheckRotate(size_t half, bool inverse) {
  const Angles angles(half);
  Matrix<T> before(kTokens, kHeads * 2 * half), x(kTokens, kHeads * 2 * half);
  before.Spread(1, 1);
  x.Spread(1, 1);
  Rotate<T>(x, 2 * half, angles.cosine.data(), angles.sine.data(), inverse);
  for (size_t i = 0; i < kTokens; ++i) {
    for (size_t j = 0; j < kHeads * half; ++j) {
      const size_t at = j / half * 2 * half + j % half;
      const double angle = angles.angle(i, j % half) * (inverse ? -1 : 1);
      const std::complex<double> want =
          std::complex(before(i, at), before(i, at + half)) *
          std::polar(1.0, angle);
      ExpectNear<T>(x(i, at), want.real(), 1);
      ExpectNear<T>(x(i, at + half), want.imag(), 1);
    }
  }
  x.ExpectGapsUntouched();
}

TEST_P(ActivationKernelsTest, RotateTurnsHalvesAsComplexNumbers) {
  for (size_t half : {1, 7, 16, 32, 64, 100}) {
    for (bool inverse : {false, true}) {
      CheckRotate<float>(half, inverse);
      CheckRotate<BFloat16>(half, inverse);
    }
  }
}

double Silu(double x) { return x / (1 + std::exp(-x)); }

template <typename T>
void CheckSwiGlu(size_t width) {
  Matrix<T> gate_up(3, 2 * width), out(3, width, 5);
  gate_up.Spread(1, 8);
  SwiGlu<T>(gate_up, out);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < width; ++j) {
      const double want = Silu(gate_up(i, j)) * gate_up(i, width + j);
      ExpectNear<T>(out(i, j), want, std::abs(want));
    }
  }
  out.ExpectGapsUntouched();
}

TEST_P(ActivationKernelsTest, SwiGluIsSiluOfGateTimesUp) {
  for (size_t width : kWidths) {
    CheckSwiGlu<float>(width);
    CheckSwiGlu<BFloat16>(width);
  }
}

TEST_P(ActivationKernelsTest, SwiGluStaysFiniteFarFromZero) {
  const float gates[] = {-3e38f, -1e4f, -100, -88, -0.0f, 88, 100, 1e4f, 3e38f};
  constexpr size_t kCount = std::size(gates);
  Matrix<float> gate_up(1, 2 * kCount), dout(1, kCount), out(1, kCount);
  gate_up.Each([&](size_t, size_t j) { return j < kCount ? gates[j] : 1; });
  dout.Each([](size_t, size_t) { return 1; });
  SwiGlu<float>(gate_up, out);
  SwiGluGradient<float>(dout, gate_up);
  for (size_t j = 0; j < kCount; ++j) {
    const double want = gates[j] > 0 ? gates[j] : 0;
    EXPECT_NEAR(out(0, j), want, 1e-6 * want + 1e-30) << gates[j];
    EXPECT_EQ(gate_up(0, kCount + j), out(0, j)) << gates[j];
    const double slope = gates[j] > 0 ? 1 : gates[j] < 0 ? 0 : 0.5;
    EXPECT_NEAR(gate_up(0, j), slope, 1e-6) << gates[j];
  }
}

TEST_P(ActivationKernelsTest, SwiGluPassesNanOn) {
  Matrix<float> gate_up(1, 40), out(1, 20);
  gate_up.Spread(1, 1).Set(0, 3, std::numeric_limits<float>::quiet_NaN());
  gate_up.Set(0, 39, std::numeric_limits<float>::quiet_NaN());
  SwiGlu<float>(gate_up, out);
  for (size_t j = 0; j < 20; ++j) {
    EXPECT_EQ(std::isnan(out(0, j)), j == 3 || j == 19) << j;
  }
}

template <typename T>
void CheckSwiGluGradient(size_t width) {
  Matrix<T> before(3, 2 * width), gate_up(3, 2 * width, 7), dout(3, width);
  before.Spread(1, 4);
  gate_up.Spread(1, 4);
  dout.Spread(2, 1);
  SwiGluGradient<T>(dout, gate_up);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < width; ++j) {
      const auto loss = [&](const std::vector<double>& x) {
        return dout(i, j) * Silu(x[0]) * x[1];
      };
      const std::vector<double> x = {before(i, j), before(i, width + j)};
      ExpectNear<T>(gate_up(i, j), Slope(loss, x, 0), 4);
      ExpectNear<T>(gate_up(i, width + j), Slope(loss, x, 1), 4);
    }
  }
  gate_up.ExpectGapsUntouched();
}

TEST_P(ActivationKernelsTest, SwiGluGradientIsTheSlope) {
  for (size_t width : kWidths) {
    CheckSwiGluGradient<float>(width);
    CheckSwiGluGradient<BFloat16>(width);
  }
}

}  // namespace
}  // namespace edgetune::fused
