#include "models/fused/int8_product.h"

#include <cstring>
#include <random>

#include "models/fused/int8_kernels.h"
#include "models/fused/parallel.h"
#include "tests/models_fused/kernels.h"
#include "tests/testing/not_finite.h"

namespace edgetune::fused {
namespace {

using testing::kInf;
using testing::kNaN;

class Int8ProductTest : public KernelsTest {
 protected:
  void TearDown() override {
    UseThreads(threads_);
    KernelsTest::TearDown();
  }

 private:
  const int threads_ = omp_get_max_threads();
};
INSTANTIATE_FOR_EACH_TARGET(Int8ProductTest);

// A row in 8 bits by the definition, in the precision that it asks for.
struct Quantised {
  explicit Quantised(const std::vector<float>& row) {
    float most = 0;
    for (float value : row) most = std::max(most, std::abs(value));
    scale = most / 127;
    for (float value : row) {
      values.push_back(scale == 0 ? 0 : std::nearbyint(value * (1 / scale)));
    }
  }
  std::vector<int64_t> values;
  float scale;
};

// Row i of x times factors, if there are any.
template <typename T>
std::vector<float> RowOf(const Matrix<T>& x, size_t i,
                         const float* factors = nullptr) {
  std::vector<float> row;
  for (double value : x.Row(i)) {
    const float factor = factors == nullptr ? 1 : factors[row.size()];
    row.push_back(static_cast<float>(value) * factor);
  }
  return row;
}

template <typename T>
void CheckQuantiseRows(size_t width, bool with_factors) {
  Matrix<T> x(3, width);
  Matrix<float> factors(1, width, 0);
  x.Spread(1, 9);
  factors.Spread(2, 2);
  const float* factor = with_factors ? factors.rows().data : nullptr;
  std::vector<int8_t> values(3 * (width + 1) + 1, 99);
  std::vector<float> scales(3);
  QuantiseRows<T>(x, factor, {values.data(), 3, width, width + 1},
                  scales.data());
  for (size_t i = 0; i < 3; ++i) {
    const Quantised want(RowOf(x, i, factor));
    EXPECT_EQ(scales[i], want.scale);
    int most = 0;
    for (size_t j = 0; j < width; ++j) {
      const int value = values[i * (width + 1) + j];
      ASSERT_EQ(value, want.values[j]) << i << ", " << j;
      most = std::max(most, std::abs(value));
    }
    EXPECT_EQ(most, 127);
    EXPECT_EQ(values[i * (width + 1) + width], 99) << "written beside";
  }
}

TEST_P(Int8ProductTest, RowsAreQuantisedByTheirLargest) {
  for (size_t width : kWidths) {
    for (bool with_factors : {false, true}) {
      CheckQuantiseRows<float>(width, with_factors);
      CheckQuantiseRows<BFloat16>(width, with_factors);
    }
  }
}

struct Row {
  std::vector<int> values;
  float scale;
};
Row QuantisedRow(const std::vector<float>& x) {
  std::vector<int8_t> values(x.size());
  Row row;
  QuantiseRows<float>({x.data(), 1, x.size(), x.size()}, nullptr,
                      {values.data(), 1, x.size(), x.size()}, &row.scale);
  row.values.assign(values.begin(), values.end());
  return row;
}

TEST_P(Int8ProductTest, HalvesAreRoundedToEven) {
  const Row row = QuantisedRow({0.5f, 1.5f, -2.5f, 126.5f, -127, 0.49f, -0.0f});
  EXPECT_EQ(row.values, (std::vector<int>{0, 2, -2, 126, -127, 0, 0}));
  EXPECT_EQ(row.scale, 1);
}

TEST_P(Int8ProductTest, ScalesOfRowsThatAreNoOrdinaryNumbers) {
  for (size_t at : {size_t{0}, size_t{40}, size_t{76}}) {
    std::vector<float> x(77, -3);
    x[at] = kNaN<float>;
    EXPECT_TRUE(std::isnan(QuantisedRow(x).scale));
    x[(at + 1) % x.size()] = kInf<float>;
    EXPECT_TRUE(std::isnan(QuantisedRow(x).scale));
    x[at] = -kInf<float>;
    EXPECT_EQ(QuantisedRow(x).scale, kInf<float>);
  }
  const std::vector<int> zeros(77, 0);
  const Row of_zeros = QuantisedRow(std::vector<float>(77, 0));
  EXPECT_EQ(of_zeros.values, zeros);
  EXPECT_EQ(of_zeros.scale, 0);
  // 1 / scale would be infinite.
  EXPECT_EQ(QuantisedRow(std::vector<float>(77, 1e-43f)).values, zeros);
}

TEST_P(Int8ProductTest, MagnitudesOfColumnsPassOverWhatIsNoNumber) {
  constexpr size_t kWide = 37;
  std::vector<float> x(3 * kWide, -2);
  x[5] = kNaN<float>;                // first row
  x[2 * kWide + 36] = -kNaN<float>;  // last
  x[kWide + 7] = kInf<float>;
  std::vector<float> most(kWide, 1);
  RaiseToMagnitudes<float>({x.data(), 3, kWide, kWide}, most.data());
  for (size_t j = 0; j < kWide; ++j) {
    EXPECT_EQ(most[j], j == 7 ? kInf<float> : 2.0f) << j;
  }
}

// Bytes of [-127, 127], the ends often.
class Bytes {
 public:
  Bytes(size_t rows, size_t width, uint32_t seed) : values_(rows * width) {
    view_ = {values_.data(), rows, width, width};
    std::mt19937 random(seed);
    for (int8_t& value : values_) {
      const int any = static_cast<int>(random() % 512) - 256;
      value = static_cast<int8_t>(std::clamp(any, -127, 127));
    }
  }
  Bytes(const Bytes&) = delete;
  const Rows<int8_t>& rows() const { return view_; }

 private:
  std::vector<int8_t> values_;
  Rows<int8_t> view_;
};

using SumsFunction =
    std::function<void(Form, const Rows<const int8_t>&,
                       const Rows<const int8_t>&, const Rows<int32_t>&)>;

void CheckSums(const SumsFunction& multiply, Form form, size_t m, size_t k,
               size_t n) {
  const Bytes a(m, k, 1);
  const Bytes b = form == Form::kAB ? Bytes(k, n, 2) : Bytes(n, k, 2);
  Buffer<int32_t> buffer;
  const size_t stride = (n + kSumColumns - 1) / kSumColumns * kSumColumns;
  Rows<int32_t> sums = buffer.Make(m + kSumRows, stride);
  sums.rows = m;
  sums.width = n;
  multiply(form, a.rows(), b.rows(), sums);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) {
      int64_t want = 0;
      for (size_t l = 0; l < k; ++l) {
        const int64_t other =
            form == Form::kAB ? b.rows().row(l)[j] : b.rows().row(j)[l];
        want += a.rows().row(i)[l] * other;
      }
      ASSERT_EQ(sums.row(i)[j], want)
          << i << ", " << j << " of " << m << " " << k << " " << n;
    }
  }
}

void CheckSumsOfShapes(const SumsFunction& multiply) {
  for (Form form : {Form::kAB, Form::kABt}) {
    for (size_t m : {1, 3, 17, 64}) {
      for (size_t k : {1, 5, 33, 577, 1100}) {
        for (size_t n : {5, 33, 577}) CheckSums(multiply, form, m, k, n);
      }
    }
  }
}

TEST_P(Int8ProductTest, BytesAreMultipliedExactly) {
  CheckSumsOfShapes(
      [](Form form, const auto& a, const auto& b, const auto& sums) {
        Buffer<int16_t> scratch(ScratchOfBytes(a.rows));
        MultiplyBytes(form, a, b, sums, scratch.data());
      });
}

TEST(Int8MultiplyTest, OneDnnIsExactWhereItSaysSo) {
  if (!CpuMultipliesInt8()) return;  // it says so nowhere
  CheckSumsOfShapes([](Form form, const auto& a, const auto& b,
                       const auto& sums) { Multiply(form, a, b, sums); });
}

// Both ways to multiply, where there are two.
std::vector<bool> Ways() {
  if (CpuMultipliesInt8()) return {false, true};
  return {false};
}

struct Shape {
  size_t m, n, k;
};
// Blocks are of 256 rows and 576 columns, and Highway's sums of 512 terms.
const Shape kShapes[] = {
    {1, 33, 5}, {3, 5, 577}, {17, 577, 33}, {64, 33, 65}, {300, 40, 33}};

// W and what it is in 8 bits.
struct Weights {
  Weights(size_t n, size_t k) : exact(n, k, 0), bytes(n, k) {
    exact.Spread(3, 2);
    exact.Each([&](size_t i, size_t j) { return i == 2 ? 0 : exact(i, j); });
    for (size_t i = 0; i < n; ++i) {
      QuantiseRow(exact.rows().row(i), i, bytes);
      quantised.emplace_back(RowOf(exact, i));
    }
  }
  Matrix<float> exact;
  Int8Matrix bytes;
  std::vector<Quantised> quantised;
};

TEST_P(Int8ProductTest, WeightsAreQuantisedRowByRow) {
  const Weights w(5, 577);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(w.bytes.scales.data()[i], w.quantised[i].scale);
    for (size_t j = 0; j < 577; ++j) {
      ASSERT_EQ(w.bytes.values.data()[i * 577 + j], w.quantised[i].values[j]);
    }
  }
}

// 0 for the columns with the largest magnitudes, which are multiplied apart,
// else 1.
template <typename T>
std::vector<float> FactorsOf(const Matrix<T>& x, size_t m, size_t k) {
  std::vector<std::pair<double, size_t>> columns;
  for (size_t j = 0; j < k; ++j) {
    double most = 0;
    for (size_t i = 0; i < m; ++i) most = std::max(most, std::abs(x(i, j)));
    columns.push_back({-most, j});
  }
  std::sort(columns.begin(), columns.end());
  std::vector<float> factors(k, 1);
  for (size_t i = 0; i < Int8Workspace::Apart(k); ++i) {
    factors[columns[i].second] = 0;
  }
  return factors;
}

template <typename T, typename C>
void CheckForward(bool onednn, const Shape& shape, bool add, bool with_bias) {
  const auto [m, n, k] = shape;
  const Weights w(n, k);
  Matrix<T> x(m, k);
  Matrix<float> bias(1, n, 0);
  Matrix<C> before(m, n), y(m, n);
  x.Spread(1, 3);
  if (m > 2) x.Each([&](size_t i, size_t j) { return i == 1 ? 0 : x(i, j); });
  bias.Spread(2, 1);
  before.Spread(4, 5);
  y.Spread(4, 5);
  Int8Workspace workspace(onednn);
  workspace.Forward<T, C>(x, w.bytes, with_bias ? bias.rows().data : nullptr,
                          add, y);
  const std::vector<float> factors = FactorsOf(x, m, k);
  for (size_t i = 0; i < m; ++i) {
    const Quantised row(RowOf(x, i, factors.data()));
    for (size_t j = 0; j < n; ++j) {
      int64_t sum = 0;
      double apart = 0, magnitude = 0;
      for (size_t l = 0; l < k; ++l) {
        const double weight = w.quantised[j].values[l];
        sum += row.values[l] * w.quantised[j].values[l];
        apart += (1 - factors[l]) * x(i, l) * weight;
        magnitude += (1 - factors[l]) * std::abs(x(i, l) * weight);
      }
      const double scale = w.quantised[j].scale;
      const double product = static_cast<double>(sum) * row.scale * scale;
      const double want = product + apart * scale +
                          (with_bias ? bias(0, j) : 0) +
                          (add ? before(i, j) : 0);
      ExpectNear<C>(y(i, j), want, std::abs(product) + magnitude * scale + 6);
    }
  }
  y.ExpectGapsUntouched();
}

template <typename T, typename C>
void CheckForwards() {
  for (bool onednn : Ways()) {
    for (const Shape& shape : kShapes) {
      CheckForward<T, C>(onednn, shape, false, false);
      CheckForward<T, C>(onednn, shape, true, false);
      CheckForward<T, C>(onednn, shape, true, true);
      CheckForward<T, C>(onednn, shape, false, true);
    }
  }
}

TEST_P(Int8ProductTest, ForwardIsTheProductOfWhatWasQuantised) {
  CheckForwards<float, float>();
  CheckForwards<BFloat16, BFloat16>();
  CheckForwards<BFloat16, float>();
}

template <typename T, typename C>
void CheckBackward(bool onednn, const Shape& shape) {
  const auto [m, n, k] = shape;
  const Weights w(n, k);
  Matrix<T> dy(m, n);
  Matrix<C> dx(m, k);
  dy.Spread(1, 3);
  Int8Workspace workspace(onednn);
  workspace.Backward<T, C>(dy, w.bytes, dx);
  for (size_t i = 0; i < m; ++i) {
    const Quantised row(RowOf(dy, i, w.bytes.scales.data()));
    for (size_t j = 0; j < k; ++j) {
      int64_t sum = 0;
      for (size_t l = 0; l < n; ++l) {
        sum += row.values[l] * w.quantised[l].values[j];
      }
      const double want = static_cast<double>(sum) * row.scale;
      ExpectNear<C>(dx(i, j), want, std::abs(want));
    }
  }
  dx.ExpectGapsUntouched();
}

TEST_P(Int8ProductTest, BackwardIsTheProductOfWhatWasQuantised) {
  for (bool onednn : Ways()) {
    for (const Shape& shape : kShapes) {
      CheckBackward<float, float>(onednn, shape);
      CheckBackward<BFloat16, BFloat16>(onednn, shape);
      CheckBackward<BFloat16, float>(onednn, shape);
    }
  }
}

// Quantising moves each x by up to half its scale, which one column of large
// ones does not change, each w by half of its own; float32 adds its roundings.
TEST_P(Int8ProductTest, ErrorsStayWithinTheBoundOfQuantising) {
  constexpr size_t kRows = 17, kOut = 33, kIn = 577;
  const Weights w(kOut, kIn);
  Matrix<float> x(kRows, kIn), dy(kRows, kOut), y(kRows, kOut), dx(kRows, kIn);
  x.Spread(1, 3);
  x.Each([&](size_t i, size_t j) { return (j == 5 ? 1000 : 1) * x(i, j); });
  dy.Spread(2, 3);
  const std::vector<float> factors = FactorsOf(x, kRows, kIn);
  ASSERT_EQ(factors[5], 0);
  Int8Workspace workspace;
  workspace.Forward<float, float>(x, w.bytes, nullptr, false, y);
  workspace.Backward<float, float>(dy, w.bytes, dx);
  const auto scale_of_w = [&](size_t i) { return w.quantised[i].scale; };
  for (size_t i = 0; i < kRows; ++i) {
    const double all_step = Quantised(RowOf(x, i, factors.data())).scale / 2;
    for (size_t j = 0; j < kOut; ++j) {
      const double w_step = scale_of_w(j) / 2;
      double want = 0, bound = 0;
      for (size_t l = 0; l < kIn; ++l) {
        const double x_step = factors[l] * all_step;
        want += x(i, l) * w.exact(j, l);
        bound += x_step * std::abs(w.exact(j, l)) + w_step * std::abs(x(i, l)) +
                 x_step * w_step;
      }
      EXPECT_NEAR(y(i, j), want, bound * 1.001);
    }
    const auto folded = RowOf(dy, i, w.bytes.scales.data());
    const double dy_step = Quantised(folded).scale / 2;
    for (size_t j = 0; j < kIn; ++j) {
      double want = 0, bound = 0;
      for (size_t l = 0; l < kOut; ++l) {
        want += dy(i, l) * w.exact(l, j);
        bound += dy_step * 127 + std::abs(dy(i, l)) * scale_of_w(l) / 2;
      }
      EXPECT_NEAR(dx(i, j), want, bound * 1.001);
    }
  }
}

template <typename T>
void CheckNoNumbers(bool onednn) {
  const Weights w(33, 65);
  Matrix<T> x(20, 65), y(20, 33), dy(20, 33), dx(20, 65);
  x.Spread(1, 1).Set(4, 64, kNaN<float>);
  dy.Spread(1, 1).Set(4, 32, kNaN<float>);
  x.Set(7, 0, kInf<float>);
  dy.Set(7, 0, -kInf<float>);
  Int8Workspace workspace(onednn);
  workspace.Forward<T, T>(x, w.bytes, nullptr, false, y);
  workspace.Backward<T, T>(dy, w.bytes, dx);
  const auto check = [](const Matrix<T>& out) {
    for (size_t i = 0; i < out.rows().rows; ++i) {
      for (double value : out.Row(i)) {
        EXPECT_EQ(std::isfinite(value), i != 4 && i != 7) << i;
        EXPECT_EQ(std::isnan(value) || i != 4, true);
      }
    }
  };
  check(y);
  check(dx);
}

TEST_P(Int8ProductTest, WhatIsNoNumberMarksItsTokenAndNoOther) {
  for (bool onednn : Ways()) {
    CheckNoNumbers<float>(onednn);
    CheckNoNumbers<BFloat16>(onednn);
  }
}

TEST_P(Int8ProductTest, AWeightThatIsNoNumberIsSeenInEveryToken) {
  Weights w(33, 65);
  w.exact.Set(5, 3, kNaN<float>);
  QuantiseRow(w.exact.rows().row(5), 5, w.bytes);
  Matrix<float> x(2, 65), y(2, 33), dx(2, 65);
  x.Spread(1, 1);
  Int8Workspace workspace;
  workspace.Forward<float, float>(x, w.bytes, nullptr, false, y);
  workspace.Backward<float, float>(y, w.bytes, dx);
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 33; ++j) EXPECT_EQ(std::isnan(y(i, j)), j == 5);
    for (double value : dx.Row(i)) EXPECT_TRUE(std::isnan(value));
  }
}

// Forward and backward one after the other, as bits.
std::vector<double> Results(bool onednn, int threads, size_t m) {
  UseThreads(threads);
  const Weights w(600, 100);
  Matrix<float> x(m, 100), y(m, 600), dx(m, 100);
  x.Spread(1, 3);
  Int8Workspace workspace(onednn);
  workspace.Forward<float, float>(x, w.bytes, nullptr, false, y);
  workspace.Backward<float, float>(y, w.bytes, dx);
  std::vector<double> results;
  for (size_t i = 0; i < m; ++i) {
    for (double value : y.Row(i)) results.push_back(value);
    for (double value : dx.Row(i)) results.push_back(value);
  }
  return results;
}

TEST_P(Int8ProductTest, ResultsDependNeitherOnThreadsNorOnWhoMultiplies) {
  for (size_t m : {1, 100, 270}) {  // shared by columns, by rows
    const auto want = Results(false, 1, m);
    for (bool onednn : Ways()) {
      for (int threads : {1, 2, 3}) {
        EXPECT_EQ(Results(onednn, threads, m), want) << m << " " << threads;
      }
    }
  }
}

TEST_P(Int8ProductTest, NothingComesOfNothing) {
  const Int8Matrix w(5, 7);
  std::memset(w.values.data(), 1, 35);
  Int8Workspace workspace;
  workspace.Forward<float, float>({nullptr, 0, 7, 7}, w, nullptr, false,
                                  {nullptr, 0, 5, 5});
}

}  // namespace
}  // namespace edgetune::fused
