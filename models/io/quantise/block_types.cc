#include "models/io/quantise/block_types.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <iterator>

#include "base/status.h"

namespace edgetune {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor data is read as little-endian memory");

constexpr BlockShape kShapes[] = {
    {BlockType::kF32, "F32", 1, 4},       {BlockType::kF16, "F16", 1, 2},
    {BlockType::kBF16, "BF16", 1, 2},     {BlockType::kQ4_0, "Q4_0", 32, 18},
    {BlockType::kQ4_1, "Q4_1", 32, 20},   {BlockType::kQ5_0, "Q5_0", 32, 22},
    {BlockType::kQ5_1, "Q5_1", 32, 24},   {BlockType::kQ8_0, "Q8_0", 32, 34},
    {BlockType::kQ4_K, "Q4_K", 256, 144}, {BlockType::kQ5_K, "Q5_K", 256, 176},
    {BlockType::kQ6_K, "Q6_K", 256, 210},
};

// Types that files use but this version does not read, for the message.
struct OtherType {
  uint32_t type;
  const char* name;
};
constexpr OtherType kOtherTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},   {11, "Q3_K"},    {15, "Q8_K"},
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"},  {21, "IQ3_S"},  {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"},
    {39, "MXFP4"},
};

float HalfToFloat(uint16_t half) {
  // Exponent and mantissa moved into place and multiplied by 2^112, which
  // makes subnormal halves right without a branch; infinity and NaN are set
  // apart (their exponent becomes all ones).
  const uint32_t magnitude = uint32_t{half & 0x7fffu} << 13;
  uint32_t bits =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  if ((half & 0x7c00u) == 0x7c00u) bits = magnitude | 0x7f800000u;
  return std::bit_cast<float>(bits | (uint32_t{half & 0x8000u} << 16));
}

template <typename T>
T Load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

float LoadHalf(const uint8_t* p) { return HalfToFloat(Load<uint16_t>(p)); }

void ReadHalves(const uint8_t* in, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = LoadHalf(in + 2 * i);
}

void ReadBrainFloats(const uint8_t* in, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = std::bit_cast<float>(uint32_t{Load<uint16_t>(in + 2 * i)} << 16);
  }
}

// Values 0..15 of 32 nibbles, first half low, second half high.
void ReadNibbles(const uint8_t* qs, float scale, float offset, float* y) {
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>(qs[j] & 15) * scale + offset;
    y[j + 16] = static_cast<float>(qs[j] >> 4) * scale + offset;
  }
}

// As above with a fifth bit from qh; `value` makes a float of 0..31.
template <typename Value>
void ReadFiveBits(const uint8_t* in, Value value, float* y) {
  const uint32_t qh = Load<uint32_t>(in);
  const uint8_t* qs = in + 4;
  for (int j = 0; j < 16; ++j) {
    const int low = (qs[j] & 15) | static_cast<int>((qh >> j & 1) << 4);
    const int high = (qs[j] >> 4) | static_cast<int>((qh >> (j + 16) & 1) << 4);
    y[j] = value(low);
    y[j + 16] = value(high);
  }
}

void ReadQ4_0(const uint8_t* in, float* y) {
  const float d = LoadHalf(in);
  for (int j = 0; j < 16; ++j) {
    y[j] = static_cast<float>((in[2 + j] & 15) - 8) * d;
    y[j + 16] = static_cast<float>((in[2 + j] >> 4) - 8) * d;
  }
}

void ReadQ4_1(const uint8_t* in, float* y) {
  ReadNibbles(in + 4, LoadHalf(in), LoadHalf(in + 2), y);
}

void ReadQ5_0(const uint8_t* in, float* y) {
  const float d = LoadHalf(in);
  // No sum: with a negative d the middle value is -0.
  ReadFiveBits(
      in + 2, [d](int q) { return static_cast<float>(q - 16) * d; }, y);
}

void ReadQ5_1(const uint8_t* in, float* y) {
  const float d = LoadHalf(in), m = LoadHalf(in + 2);
  ReadFiveBits(
      in + 4, [d, m](int q) { return static_cast<float>(q) * d + m; }, y);
}

void ReadQ8_0(const uint8_t* in, float* y) {
  const float d = LoadHalf(in);
  const int8_t* q = reinterpret_cast<const int8_t*>(in + 2);
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(q[j]) * d;
}

// Scale and minimum of sub-block j: eight pairs of six bits in twelve bytes.
struct ScaleMin {
  int scale, minimum;
};
ScaleMin SixBitPair(const uint8_t* q, int j) {
  if (j < 4) return {q[j] & 63, q[j + 4] & 63};
  return {(q[j + 4] & 15) | (q[j - 4] >> 6 << 4),
          (q[j + 4] >> 4) | (q[j] >> 6 << 4)};
}

// Q4_K, and Q5_K when qh is given.
void ReadSuperBlock(const uint8_t* in, const uint8_t* qh, const uint8_t* qs,
                    float* y) {
  const float d = LoadHalf(in), dmin = LoadHalf(in + 2);
  for (int half = 0; half < 8; ++half) {
    const ScaleMin pair = SixBitPair(in + 4, half);
    const float scale = d * static_cast<float>(pair.scale);
    const float minimum = dmin * static_cast<float>(pair.minimum);
    const uint8_t* q = qs + 32 * (half / 2);
    const int shift = half % 2 * 4;
    for (int l = 0; l < 32; ++l) {
      int value = q[l] >> shift & 15;
      if (qh != nullptr) value |= (qh[l] >> half & 1) << 4;
      *y++ = scale * static_cast<float>(value) - minimum;
    }
  }
}

void ReadQ4_K(const uint8_t* in, float* y) {
  ReadSuperBlock(in, nullptr, in + 16, y);
}

void ReadQ5_K(const uint8_t* in, float* y) {
  ReadSuperBlock(in, in + 16, in + 48, y);
}

void ReadQ6_K(const uint8_t* in, float* y) {
  const float d = LoadHalf(in + 208);
  for (int part = 0; part < 2; ++part, y += 128) {
    const uint8_t* ql = in + 64 * part;
    const uint8_t* qh = in + 128 + 32 * part;
    const int8_t* sc = reinterpret_cast<const int8_t*>(in + 192 + 8 * part);
    for (int quarter = 0; quarter < 4; ++quarter) {
      const int shift = quarter / 2 * 4;
      for (int l = 0; l < 32; ++l) {
        const int low = ql[l + 32 * (quarter % 2)] >> shift & 15;
        const int q = (low | (qh[l] >> (2 * quarter) & 3) << 4) - 32;
        y[32 * quarter + l] = d * static_cast<float>(sc[l / 16 + 2 * quarter]) *
                              static_cast<float>(q);
      }
    }
  }
}

template <typename Reader>
void ReadBlocks(const BlockShape& shape, const uint8_t* in,
                std::span<float> out, Reader read) {
  for (size_t i = 0; i < out.size(); i += shape.elements, in += shape.bytes) {
    read(in, out.data() + i);
  }
}

}  // namespace

absl::StatusOr<BlockShape> BlockShapeOf(uint32_t type) {
  for (const BlockShape& shape : kShapes) {
    if (static_cast<uint32_t>(shape.type) == type) return shape;
  }
  const char* name = "unknown to this version";
  for (const OtherType& other : kOtherTypes) {
    if (other.type == type) name = other.name;
  }
  return absl::InvalidArgumentError(fmt::format(
      "tensor type {} ({}) is not read; F32, F16, BF16, Q4_0, Q4_1, Q5_0, "
      "Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are",
      type, name));
}

BlockShape BlockShapeOf(BlockType type) {
  for (const BlockShape& shape : kShapes) {
    if (shape.type == type) return shape;
  }
  EDGETUNE_CHECK(false);
}

void Dequantise(BlockType type, std::span<const uint8_t> bytes,
                std::span<float> out) {
  const BlockShape shape = BlockShapeOf(type);
  EDGETUNE_CHECK(out.size() % shape.elements == 0);
  EDGETUNE_CHECK(bytes.size() == out.size() / shape.elements * shape.bytes);
  const uint8_t* in = bytes.data();
  switch (type) {
    case BlockType::kF32:
      if (!out.empty()) std::memcpy(out.data(), in, out.size_bytes());
      return;
    case BlockType::kF16:
      return ReadHalves(in, out);
    case BlockType::kBF16:
      return ReadBrainFloats(in, out);
    case BlockType::kQ4_0:
      return ReadBlocks(shape, in, out, ReadQ4_0);
    case BlockType::kQ4_1:
      return ReadBlocks(shape, in, out, ReadQ4_1);
    case BlockType::kQ5_0:
      return ReadBlocks(shape, in, out, ReadQ5_0);
    case BlockType::kQ5_1:
      return ReadBlocks(shape, in, out, ReadQ5_1);
    case BlockType::kQ8_0:
      return ReadBlocks(shape, in, out, ReadQ8_0);
    case BlockType::kQ4_K:
      return ReadBlocks(shape, in, out, ReadQ4_K);
    case BlockType::kQ5_K:
      return ReadBlocks(shape, in, out, ReadQ5_K);
    case BlockType::kQ6_K:
      return ReadBlocks(shape, in, out, ReadQ6_K);
  }
}

}  // namespace edgetune
