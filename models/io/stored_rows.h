#ifndef EDGETUNE_MODELS_IO_STORED_ROWS_H_
#define EDGETUNE_MODELS_IO_STORED_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "models/io/quantise/block_types.h"

namespace edgetune {

// GGUF rotates adjacent pairs, Hugging Face halves of a head: where row `row`
// of a Hugging Face q or k matrix stands in a GGUF file.
inline int64_t GgufRowOf(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim, within = row % head_dim;
  const int64_t half = head_dim / 2;
  return head * head_dim + 2 * (within % half) + within / half;
}

// The other way: which row of a Hugging Face matrix is row `row` of a GGUF's.
inline int64_t HfRowOf(int64_t row, int64_t head_dim) {
  const int64_t head = row / head_dim, within = row % head_dim;
  return head * head_dim + within / 2 + within % 2 * (head_dim / 2);
}

// A tensor as it lies in a file, for those who compute with its blocks: `rows`
// rows of `width` elements, `row_bytes` each. Not owned; no alignment is
// promised.
struct StoredRows {
  BlockType type = BlockType::kF32;
  const uint8_t* data = nullptr;
  size_t rows = 0, width = 0;
  size_t row_bytes = 0;
  // Where not 0, the rows of each head of so many stand in GGUF's order.
  size_t permuted_head = 0;

  // Row i in Hugging Face's order.
  const uint8_t* row(size_t i) const {
    if (permuted_head != 0) {
      i = static_cast<size_t>(GgufRowOf(static_cast<int64_t>(i),
                                        static_cast<int64_t>(permuted_head)));
    }
    return data + i * row_bytes;
  }
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_STORED_ROWS_H_
