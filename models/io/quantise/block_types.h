#ifndef EDGETUNE_MODELS_IO_QUANTISE_BLOCK_TYPES_H_
#define EDGETUNE_MODELS_IO_QUANTISE_BLOCK_TYPES_H_

// Tensor element types of GGUF files and their de-quantisation (formats
// design, section 3). A quantised row is cut into blocks of `elements` values
// stored in `bytes` bytes. Stateless, thread-safe.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace edgetune {

// The numbers are those of the file format.
enum class BlockType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct BlockShape {
  BlockType type;
  std::string_view name;
  uint32_t elements;
  uint32_t bytes;
};

// InvalidArgument: a type that is not read, by name where it has one.
absl::StatusOr<BlockShape> BlockShapeOf(uint32_t type);
BlockShape BlockShapeOf(BlockType type);

// De-quantises out.size() elements; a caller's error unless that is a whole
// number of blocks and `bytes` holds exactly those.
void Dequantise(BlockType type, std::span<const uint8_t> bytes,
                std::span<float> out);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_QUANTISE_BLOCK_TYPES_H_
