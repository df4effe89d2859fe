#ifndef EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_
#define EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_

// Frozen weights used as a model file stores them, vectorised for the processor
// it runs on: rows de-quantised for a matrix product, and products of rows with
// a single vector, for which the weights are read once and nothing is written.
// Fast for F32, F16, BF16, Q8_0, Q4_0 and Q4_1; the other types go through
// models/io/quantise, at a fortieth of the speed. Rows may begin at any
// address; nothing beyond them is read. Stateless, on the calling thread; what
// comes out depends on the input and the instruction set alone.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "models/fused/bfloat16.h"
#include "models/fused/buffer.h"
#include "models/io/stored_rows.h"

namespace edgetune::fused {

// Whether a type is one of the fast ones.
bool HasBlockKernel(BlockType type);

// Row `row` as T into out [width]: the values of Dequantise of
// models/io/quantise, bit for bit, rounded to nearest even where T is BFloat16.
// A NaN stays one, though not always of the same bits.
template <typename T>
void DequantiseRow(const StoredRows& rows, size_t row, T* out);

// A float32 vector made ready for DotRows, once for all matrices that it is
// multiplied with, on the instruction set that it was set on. Threads may share
// one that is not being set.
class DotVector {
 public:
  // x [width], which must stay as it is for as long as this is used. Cheap
  // beside the product with a few rows. Memory only grows: throws
  // std::bad_alloc.
  void Set(const float* x, size_t width);

  const float* x() const { return x_; }
  size_t width() const { return width_; }
  // x as blocks of 4-bit weights meet it: kFloatsPerBlock for each 32 numbers,
  // arranged in block_products.cc. Not set unless width is a multiple of 32.
  const float* nibbles() const { return nibbles_.data(); }
  static constexpr size_t kFloatsPerBlock = 36;

 private:
  const float* x_ = nullptr;
  size_t width_ = 0;
  Buffer<float> nibbles_;
};

// y[i - begin] = row i . x, for rows [begin, end); x as wide as they are, else
// a caller's error. Weights are not rounded, sums are float32: off by no more
// than (width + 8) 2^-24 of the magnitudes added up, where the levels of 4-bit
// types and their offsets (-8 scale in Q4_0) count apart. Takes finite weights,
// and an x of which no number but 0 is below 2^-100 (what is smaller may be
// lost). What comes out for a row does not depend on the range.
void DotRows(const StoredRows& rows, size_t begin, size_t end,
             const DotVector& x, float* y);

// The elements of a matrix of this program's own, as rows to compute with.
template <typename T>
StoredRows StoredAs(const Rows<const T>& m) {
  return {.type = std::is_same_v<T, float> ? BlockType::kF32 : BlockType::kBF16,
          .data = reinterpret_cast<const uint8_t*>(m.data),
          .rows = m.rows,
          .width = m.width,
          .row_bytes = m.stride * sizeof(T)};
}

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_
