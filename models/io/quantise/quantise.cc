#include "models/io/quantise/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

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
