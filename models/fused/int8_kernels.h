#ifndef EDGETUNE_MODELS_FUSED_INT8_KERNELS_H_
#define EDGETUNE_MODELS_FUSED_INT8_KERNELS_H_

// What int8_product does around and, on processors without instructions for
// it, inside products of 8 bits, vectorised as in kernels.h, whose rules hold
// here too.

#include "models/fused/matmul.h"

namespace edgetune::fused {

// values [rows, width] = x * factors / scales[row], to nearest, halves to even,
// with scales[row] the largest magnitude of x * factors in the row / 127.
// factors [width] may be null: ones. A row whose scale is below the least
// normal float32 becomes zeros. The scale of a row with a NaN is one, that of
// a row with an infinity infinite, and their values are any.
template <typename T>
void QuantiseRows(const Rows<const T>& x, const float* factors,
                  const Rows<int8_t>& values, float* scales);

// most[j] becomes at least |x[i][j]| for every row i where that is a number;
// most [width].
template <typename T>
void RaiseToMagnitudes(const Rows<const T>& x, float* most);

// Matrices of sums have room for their rows and their width rounded up to
// multiples of these. What stands there is anything.
inline constexpr size_t kSumRows = 4;
inline constexpr size_t kSumColumns = 32;

// x b, for few rows of b: x [rows, r], b [r, width].
struct LowRank {
  Rows<const float> x, b;
};

// y = sums * row_scales[row] * column_scales[column] + bias [width] + apart, or
// added to y. column_scales (ones) and bias (zeros) may be null, apart of rank
// 0.
template <typename C>
void ScaleSums(const Rows<const int32_t>& sums, const float* row_scales,
               const float* column_scales, const float* bias,
               const LowRank& apart, bool add, const Rows<C>& y);

// sums [M,N] = A B, or A B^T: form is kAB or kABt as in matmul.h, and all is
// exact. `scratch` has room for ScratchOfBytes(M) numbers, aligned to cache
// lines.
void MultiplyBytes(Form form, const Rows<const int8_t>& a,
                   const Rows<const int8_t>& b, const Rows<int32_t>& sums,
                   int16_t* scratch);

// Terms of a sum that are worked on at a time.
inline constexpr size_t kByteDepth = 512;
constexpr size_t ScratchOfBytes(size_t rows) {
  return kByteDepth * (rows + kSumRows + kSumColumns);
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_INT8_KERNELS_H_
