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

// What a block of 32 weights of Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0 can say once its
// scale is chosen: scale * level + offset, for whoever chooses levels itself.
struct LevelGrid {
  float scale = 0, offset = 0;  // as the block stores them, in 16 bits
  int least = 0, most = 0;      // levels

  int Nearest(float value) const;
  float ValueOf(int level) const {
    return static_cast<float>(level) * scale + offset;
  }
};
bool HasLevels(BlockType type);
// Scale and offset that Quantise would choose for these 32 weights. A type with
// levels, else a caller's error.
LevelGrid GridFor(BlockType type, std::span<const float> weights);
// The block of 32 levels of this grid, into as many bytes as it takes.
void StoreLevels(BlockType type, const LevelGrid& grid,
                 std::span<const int> levels, std::span<uint8_t> out);

// The type that a tensor of this many columns gets where `wanted` is asked for:
// a row must be a whole number of blocks, and ggml then takes the next larger
// type of 32 (Q4_K Q5_0, Q5_K Q5_1, Q6_K Q8_0), or F16 where not even those
// fit.
BlockType TypeForColumns(BlockType wanted, int64_t columns);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_QUANTISE_QUANTISE_H_
