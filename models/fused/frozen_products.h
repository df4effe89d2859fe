#ifndef EDGETUNE_MODELS_FUSED_FROZEN_PRODUCTS_H_
#define EDGETUNE_MODELS_FUSED_FROZEN_PRODUCTS_H_

#include "models/fused/frozen_matrix.h"
#include "models/fused/matmul.h"

namespace edgetune::fused {

// Products with frozen matrices, whatever those are stored as: with the blocks
// themselves for a single row; else in 8 bits where the matrix has them, or
// with the whole matrix as T, for which there is room for one. C is T or float.
// One thread at a time; uses the engine's threads.
template <typename T>
class FrozenProducts {
 public:
  // y [M,N] = x W^T, or added to y; x [M,K], W [N,K]. A product takes `block`
  // rows of x at a time, since its size decides how sums round.
  template <typename C>
  void Forward(const Rows<const T>& x, const FrozenMatrix& w, const Rows<C>& y,
               size_t block, const ProductOptions& options = {});

  // dx [M,K] = dy W; dy [M,N].
  template <typename C>
  void Backward(const Rows<const T>& dy, const FrozenMatrix& w,
                const Rows<C>& dx);

 private:
  template <typename C>
  void ForwardRow(const T* x, const FrozenMatrix& w, C* y,
                  const ProductOptions& options);

  Int8Workspace int8_;
  Buffer<T> whole_;   // a matrix
  DotVector vector_;  // a row, and it as float32
  Buffer<float> in_, out_;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_FROZEN_PRODUCTS_H_
