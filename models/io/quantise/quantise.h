#ifndef EDGETUNE_MODELS_IO_QUANTISE_QUANTISE_H_
#define EDGETUNE_MODELS_IO_QUANTISE_QUANTISE_H_

// float32 to the block types of GGUF files, bit for bit as ggml's reference
// quantisers do without an importance matrix (ggml-quants.c; formats design,
// section 3). Stateless, thread-safe.

#include <cstdint>
#include <span>

#include "models/io/quantise/block_types.h"

namespace edgetune {

// Encodes in.size() finite values, a whole number of blocks, into exactly as
// many bytes as these take; else a caller's error. F32, F16 (to nearest, ties
// to even; beyond its range infinity), BF16 (likewise) and every quantised
// type.
void Quantise(BlockType type, std::span<const float> in,
              std::span<uint8_t> out);

// The type that a tensor of this many columns gets where `wanted` is asked for:
// a row must be a whole number of blocks, and ggml then takes the next larger
// type of 32 (Q4_K Q5_0, Q5_K Q5_1, Q6_K Q8_0), or F16 where not even those
// fit.
BlockType TypeForColumns(BlockType wanted, int64_t columns);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_QUANTISE_QUANTISE_H_
