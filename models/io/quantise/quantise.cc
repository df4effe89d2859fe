#include "models/io/quantise/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <vector>

#include "base/status.h"
#include "models/io/quantise/super_blocks.h"

namespace edgetune {
namespace {

void StoreHalf(float value, uint8_t* out) {
  const uint16_t half = HalfOf(value);
  std::memcpy(out, &half, sizeof(half));
}

// To nearest, ties to even; NaN stays NaN.
uint16_t BrainOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 64);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename Encode>
void WritePairs(std::span<const float> in, uint8_t* out, Encode encode) {
  for (const float value : in) {
    const uint16_t pair = encode(value);
    std::memcpy(out, &pair, sizeof(pair));
    out += sizeof(pair);
  }
}

float Inverse(float d) { return d != 0 ? 1 / d : 0; }

// The value of largest magnitude, the first of equals.
float Extreme(const float* x) {
  float extreme = 0;
  for (int j = 0; j < 32; ++j) {
    if (std::fabs(extreme) < std::fabs(x[j])) extreme = x[j];
  }
  return extreme;
}

// Values 0..15 of 32, first half in the low nibbles.
void StoreNibbles(const uint8_t* values, uint8_t* qs) {
  for (int j = 0; j < 16; ++j) {
    qs[j] = static_cast<uint8_t>((values[j] & 15) | (values[j + 16] & 15) << 4);
  }
}

// Values 0..31 of 32: four bytes of fifth bits, then nibbles.
void StoreFiveBits(const uint8_t* values, uint8_t* out) {
  uint32_t fifth = 0;
  for (int j = 0; j < 32; ++j) fifth |= uint32_t{values[j] >> 4 & 1u} << j;
  std::memcpy(out, &fifth, sizeof(fifth));
  StoreNibbles(values, out + sizeof(fifth));
}

// d = extreme / -levels/2, so that the extreme itself is the lowest level.
void RoundAround(const float* x, int half, uint8_t* d_out, uint8_t* values) {
  const float d = Extreme(x) / static_cast<float>(-half);
  const float inverse = Inverse(d);
  StoreHalf(d, d_out);
  const float centre = static_cast<float>(half) + 0.5f;
  for (int j = 0; j < 32; ++j) {
    values[j] = static_cast<uint8_t>(
        std::min(2 * half - 1, static_cast<int>(x[j] * inverse + centre)));
  }
}

// Levels of equal distance from the smallest value to the largest.
void RoundBetween(const float* x, int levels, uint8_t* out, uint8_t* values) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float minimum = *low;
  const float d = (*high - minimum) / static_cast<float>(levels);
  const float inverse = Inverse(d);
  StoreHalf(d, out);
  StoreHalf(minimum, out + 2);
  for (int j = 0; j < 32; ++j) {
    values[j] = static_cast<uint8_t>(
        std::min(levels, static_cast<int>((x[j] - minimum) * inverse + 0.5f)));
  }
}

void WriteQ4_0(const float* x, uint8_t* out) {
  uint8_t values[32];
  RoundAround(x, 8, out, values);
  StoreNibbles(values, out + 2);
}

void WriteQ4_1(const float* x, uint8_t* out) {
  uint8_t values[32];
  RoundBetween(x, 15, out, values);
  StoreNibbles(values, out + 4);
}

void WriteQ5_0(const float* x, uint8_t* out) {
  uint8_t values[32];
  RoundAround(x, 16, out, values);
  StoreFiveBits(values, out + 2);
}

void WriteQ5_1(const float* x, uint8_t* out) {
  uint8_t values[32];
  RoundBetween(x, 31, out, values);
  StoreFiveBits(values, out + 4);
}

void WriteQ8_0(const float* x, uint8_t* out) {
  const float d = std::fabs(Extreme(x)) / 127;
  const float inverse = Inverse(d);
  StoreHalf(d, out);
  for (int j = 0; j < 32; ++j) {
    out[2 + j] =
        static_cast<uint8_t>(static_cast<int8_t>(std::round(x[j] * inverse)));
  }
}

template <typename Writer>
void WriteBlocks(const BlockShape& shape, std::span<const float> in,
                 uint8_t* out, Writer write) {
  for (size_t i = 0; i < in.size(); i += shape.elements, out += shape.bytes) {
    write(in.data() + i, out);
  }
}

}  // namespace

void Quantise(BlockType type, std::span<const float> in,
              std::span<uint8_t> out) {
  const BlockShape shape = BlockShapeOf(type);
  EDGETUNE_CHECK(in.size() % shape.elements == 0);
  EDGETUNE_CHECK(out.size() == in.size() / shape.elements * shape.bytes);
  switch (type) {
    case BlockType::kF32:
      if (!in.empty()) std::memcpy(out.data(), in.data(), in.size_bytes());
      return;
    case BlockType::kF16:
      return WritePairs(in, out.data(), HalfOf);
    case BlockType::kBF16:
      return WritePairs(in, out.data(), BrainOf);
    case BlockType::kQ4_0:
      return WriteBlocks(shape, in, out.data(), WriteQ4_0);
    case BlockType::kQ4_1:
      return WriteBlocks(shape, in, out.data(), WriteQ4_1);
    case BlockType::kQ5_0:
      return WriteBlocks(shape, in, out.data(), WriteQ5_0);
    case BlockType::kQ5_1:
      return WriteBlocks(shape, in, out.data(), WriteQ5_1);
    case BlockType::kQ8_0:
      return WriteBlocks(shape, in, out.data(), WriteQ8_0);
    case BlockType::kQ4_K:
      return WriteBlocks(shape, in, out.data(), WriteQ4_K);
    case BlockType::kQ5_K:
      return WriteBlocks(shape, in, out.data(), WriteQ5_K);
    case BlockType::kQ6_K:
      return WriteBlocks(shape, in, out.data(), WriteQ6_K);
  }
}

namespace {

constexpr size_t kLevelBlock = 32;

float HalfAt(const uint8_t* at) {
  float out = 0;
  Dequantise(BlockType::kF16, {at, 2}, {&out, 1});
  return out;
}

// The types with levels: how many there are below 0, or 0 where they begin at
// an offset; how many in all.
struct LevelKind {
  BlockType type;
  int below, count;
  bool offset;
};
constexpr LevelKind kLevelKinds[] = {{BlockType::kQ4_0, 8, 16, false},
                                     {BlockType::kQ4_1, 0, 16, true},
                                     {BlockType::kQ5_0, 16, 32, false},
                                     {BlockType::kQ5_1, 0, 32, true},
                                     {BlockType::kQ8_0, 127, 255, false}};

const LevelKind* FindLevelKind(BlockType type) {
  const auto found = std::ranges::find(kLevelKinds, type, &LevelKind::type);
  return found == std::end(kLevelKinds) ? nullptr : found;
}

}  // namespace

int LevelGrid::Nearest(float value) const {
  if (scale == 0) return std::clamp(0, least, most);
  const float level = std::round((value - offset) / scale);
  return static_cast<int>(
      std::clamp(level, static_cast<float>(least), static_cast<float>(most)));
}

bool HasLevels(BlockType type) { return FindLevelKind(type) != nullptr; }

LevelGrid GridFor(BlockType type, std::span<const float> weights) {
  const LevelKind* const kind = FindLevelKind(type);
  EDGETUNE_CHECK(kind != nullptr && weights.size() == kLevelBlock);
  // What Quantise stores first: the scale, and the offset where there is one.
  std::vector<uint8_t> block(BlockShapeOf(type).bytes);
  Quantise(type, weights, block);
  LevelGrid out;
  out.scale = HalfAt(block.data());
  if (kind->offset) out.offset = HalfAt(block.data() + 2);
  out.least = -kind->below;
  out.most = kind->count - 1 - kind->below;
  return out;
}

void StoreLevels(BlockType type, const LevelGrid& grid,
                 std::span<const int> levels, std::span<uint8_t> out) {
  const LevelKind* const kind = FindLevelKind(type);
  EDGETUNE_CHECK(kind != nullptr && levels.size() == kLevelBlock);
  EDGETUNE_CHECK(out.size() == BlockShapeOf(type).bytes);
  uint8_t* at = out.data();
  StoreHalf(grid.scale, at);
  at += 2;
  if (kind->offset) {
    StoreHalf(grid.offset, at);
    at += 2;
  }
  uint8_t values[kLevelBlock];
  // Those of 8 bits are stored with their sign, the others from 0 on.
  const int shift = type == BlockType::kQ8_0 ? 0 : kind->below;
  for (size_t i = 0; i < kLevelBlock; ++i) {
    EDGETUNE_CHECK(levels[i] >= grid.least && levels[i] <= grid.most);
    values[i] = static_cast<uint8_t>(levels[i] + shift);
  }
  if (type == BlockType::kQ8_0) {
    std::memcpy(at, values, kLevelBlock);
  } else if (kind->count == 16) {
    StoreNibbles(values, at);
  } else {
    StoreFiveBits(values, at);
  }
}

BlockType TypeForColumns(BlockType wanted, int64_t columns) {
  const auto fits = [&](BlockType type) {
    return columns % BlockShapeOf(type).elements == 0;
  };
  if (fits(wanted)) return wanted;
  const BlockType next = wanted == BlockType::kQ4_K   ? BlockType::kQ5_0
                         : wanted == BlockType::kQ5_K ? BlockType::kQ5_1
                                                      : BlockType::kQ8_0;
  return fits(next) ? next : BlockType::kF16;
}

}  // namespace edgetune
