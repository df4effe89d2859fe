#include "models/fused/block_kernels.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "models/fused/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/fused/block_kernels.cc"
#include <hwy/foreach_target.h>
// After it: what follows is compiled once an instruction set.
#include <hwy/highway.h>

#include "models/fused/block_types-inl.h"
#include "models/fused/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace edgetune::fused::HWY_NAMESPACE {
namespace {

template <typename T>
void DequantiseAs(BlockType type, const uint8_t* row, size_t width, T* out) {
  switch (type) {
    case BlockType::kF32:
      return Plain<F32Bytes>::Dequantise(row, width, out);
    case BlockType::kF16:
      return Plain<F16Bytes>::Dequantise(row, width, out);
    case BlockType::kBF16:
      return Plain<BF16Bytes>::Dequantise(row, width, out);
    case BlockType::kQ8_0:
      return ReadBlocks<Q8_0>(row, width, out);
    case BlockType::kQ4_0:
      return ReadBlocks<Q4_0>(row, width, out);
    default:
      return ReadBlocks<Q4_1>(row, width, out);
  }
}
void ToFloats(BlockType type, const uint8_t* row, size_t width, float* out) {
  DequantiseAs(type, row, width, out);
}
void ToBFloat16s(BlockType type, const uint8_t* row, size_t width,
                 BFloat16* out) {
  DequantiseAs(type, row, width, out);
}

}  // namespace
}  // namespace edgetune::fused::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace edgetune::fused {

HWY_EXPORT(ToFloats);
HWY_EXPORT(ToBFloat16s);

bool HasBlockKernel(BlockType type) {
  return type == BlockType::kF32 || type == BlockType::kF16 ||
         type == BlockType::kBF16 || type == BlockType::kQ8_0 ||
         type == BlockType::kQ4_0 || type == BlockType::kQ4_1;
}

namespace {

// Of a row of a type that has no kernel: the longest block.
constexpr size_t kPiece = 256;

// work(i, values, count) for consecutive pieces of a row.
template <typename Work>
void ForPieces(const StoredRows& rows, size_t row, const Work& work) {
  const BlockShape shape = BlockShapeOf(rows.type);
  const uint8_t* in = rows.row(row);
  float values[kPiece];
  for (size_t i = 0; i < rows.width; i += kPiece) {
    const size_t count = std::min(kPiece, rows.width - i);
    const size_t bytes = count / shape.elements * shape.bytes;
    Dequantise(rows.type, {in, bytes}, {values, count});
    work(i, values, count);
    in += bytes;
  }
}

}  // namespace

template <typename T>
void DequantiseRow(const StoredRows& rows, size_t row, T* out) {
  if (!HasBlockKernel(rows.type)) {
    return ForPieces(rows, row, [&](size_t i, const float* in, size_t count) {
      Convert(in, count, out + i);
    });
  }
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(ToFloats)(rows.type, rows.row(row), rows.width, out);
  } else {
    HWY_DYNAMIC_DISPATCH(ToBFloat16s)
    (rows.type, rows.row(row), rows.width, out);
  }
}
template void DequantiseRow(const StoredRows&, size_t, float*);
template void DequantiseRow(const StoredRows&, size_t, BFloat16*);

}  // namespace edgetune::fused
#endif  // HWY_ONCE
