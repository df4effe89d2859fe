#ifndef EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_
#define EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_

// Products with frozen weights in 8 bits, forward and backward (SwitchBack,
// Wortsman et al., 2023): weights have one scale a row (an output channel),
// activations and gradients one a row (a token), found anew each time;
// quantised symmetrically, multiplied in integers, scaled in float32. The one
// copy of the weights serves both directions. T is float or BFloat16, C is T
// or float.

#include "models/fused/buffer.h"

namespace edgetune::fused {

// W [N,K]: values * scales[row].
struct Int8Matrix {
  Buffer<int8_t> values;  // [N,K], -127 to 127
  Buffer<float> scales;   // [N]
  size_t rows = 0, width = 0;
};

// Row `row` of w from its values in float32 [K], to nearest; the scale is the
// largest magnitude / 127.
void QuantiseRow(const float* in, size_t row, Int8Matrix& w);

// What the products of one caller work with; grows to the largest. One thread
// at a time calls them; they use the engine's threads (parallel.h).
class Int8Workspace {
 public:
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
  Buffer<int8_t> quantised_;  // [M,K] or [M,N]
  Buffer<float> row_scales_;  // [M]
  Buffer<int32_t> sums_;      // [M,N] or [M,K], or a part of it
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_INT8_PRODUCT_H_
