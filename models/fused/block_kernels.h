#ifndef EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_
#define EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_

// Frozen weights used as a model file stores them, vectorised for the processor
// it runs on: rows de-quantised for a matrix product, and products of rows with
// a single vector, for which the weights are read once and nothing is written.
// Fast for F32, F16, BF16, Q8_0, Q4_0 and Q4_1; the other types go through
// models/io/quantise. Stateless, on the calling thread; what comes out depends
// on the input and the instruction set alone.

#include <cstddef>

#include "models/fused/bfloat16.h"
#include "models/io/stored_rows.h"

namespace edgetune::fused {

// Row `row` as T into out [width]: the values of Dequantise of
// models/io/quantise, bit for bit, rounded to nearest even where T is BFloat16.
template <typename T>
void DequantiseRow(const StoredRows& rows, size_t row, T* out);

// y[i - begin] = row i . x, for rows [begin, end). x [width] is float32, sums
// are float32, weights are not rounded.
void DotRows(const StoredRows& rows, size_t begin, size_t end, const float* x,
             float* y);

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_BLOCK_KERNELS_H_
