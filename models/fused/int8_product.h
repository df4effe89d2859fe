#ifndef EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_
#define EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_

// Products with frozen weights in 8 bits, forward and backward (SwitchBack,
// Wortsman et al., 2023): weights have one scale a row (an output channel),
// activations and gradients one a row (a token), found anew each time;
// quantised symmetrically, multiplied in integers, scaled in float32. The one
// copy of the weights serves both directions. Forward, the few columns with the
// largest activations, which would make the step of every token coarse, are
// multiplied apart, unrounded (LLM.int8(), Dettmers et al., 2022).
//
// Sums are exact, so that results depend neither on threads nor on which
// kernel multiplies: oneDNN where the processor has instructions for it,
// Highway elsewhere. A token with a NaN gives nothing but NaN, one with an
// infinity no finite number.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/fused/buffer.h"
#include "models/fused/cpu.h"
#include "models/fused/int8_kernels.h"
#include "models/fused/matmul.h"

namespace edgetune::fused {

// W [N,K]: values * scales[row].
struct Int8Matrix {
  Int8Matrix() = default;
  Int8Matrix(size_t rows, size_t width)
      : values(rows * width), scales(rows), rows(rows), width(width) {}

  Buffer<int8_t> values;  // [N,K], -127 to 127
  Buffer<float> scales;   // [N]
  size_t rows = 0, width = 0;
};

// Row `row` of w from its values in float32 [K], to nearest; the scale is the
// largest magnitude / 127.
void QuantiseRow(const float* in, size_t row, Int8Matrix& w);

// What the products of one caller work with; grows to the largest. One thread
// at a time calls them; they use the engine's threads (parallel.h). (T, C) is
// one of (float, float), (BFloat16, BFloat16), (BFloat16, float). Shapes that
// do not belong together, and sums of more than kMostTerms, are a programmer's
// error.
class Int8Workspace {
 public:
  // Sums of so many products fit 32 bits.
  static constexpr size_t kMostTerms = size_t{1} << 17;

  // through_onednn: only where CpuMultipliesInt8.
  explicit Int8Workspace(bool through_onednn = CpuMultipliesInt8())
      : through_onednn_(through_onednn) {}

  // So many columns of K are multiplied apart.
  static constexpr size_t Apart(size_t width) {
    return std::min<size_t>(width / 32, 16);
  }

  // y [M,N] = x W^T + bias, or added to y. bias [N] may be null.
  template <typename T, typename C>
  void Forward(const Rows<const T>& x, const Int8Matrix& w, const float* bias,
               bool add, const Rows<C>& y);

  // dx [M,K] = dy W: the scales of w are folded into dy [M,N] before that is
  // quantised.
  template <typename T, typename C>
  void Backward(const Rows<const T>& dy, const Int8Matrix& w,
                const Rows<C>& dx);

 private:
  // y = x * factors, quantised, times w or its transpose, scaled.
  template <typename T, typename C>
  struct Product {
    Form form;  // kABt: y = x W^T, kAB: y = x W
    const Rows<const T>& x;
    const float* factors;  // of x's columns; null: ones
    const Int8Matrix& w;
    const float* scales;  // of y's columns; null: ones
    const float* bias;    // null: none
    LowRank apart;        // added
    bool add;
    const Rows<C>& y;
  };
  struct Range;

  // Decides which columns of x are multiplied apart.
  template <typename T>
  void FindLargest(const Rows<const T>& x);
  // Those columns of x, and of w scaled.
  template <typename T>
  LowRank TakeApart(const Rows<const T>& x, const Int8Matrix& w);
  template <typename T, typename C>
  void Run(const Product<T, C>& product);
  void Reserve(size_t rows, size_t depth, size_t threads);
  template <typename T, typename C>
  void Quantise(const Product<T, C>& product, const Range& rows);
  template <typename T, typename C>
  void MultiplyBlock(const Product<T, C>& product, const Range& rows,
                     const Range& columns, size_t thread);

  bool through_onednn_;
  Buffer<int8_t> quantised_;   // [M,K] or [M,N], and a few rows of zeros
  Buffer<float> row_scales_;   // [M]
  Buffer<int32_t> sums_;       // a block of the product for each thread
  Buffer<int16_t> scratch_;    // of MultiplyBytes, for each thread
  Buffer<float> most_;         // of each column of x, for each thread [K]
  Buffer<float> factors_;      // 0 for columns apart, else 1 [K]
  std::vector<size_t> order_;  // columns, those apart first [K]
  Buffer<float> x_apart_;      // [M, Apart]
  Buffer<float> w_apart_;      // [Apart, N]
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_
