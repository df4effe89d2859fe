#include "models/io/quantise/block_types.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace edgetune {
namespace {

// Formats design, section 3: byte i is (37 i + 11) mod 256, then d is 1.0 and
// m or dmin 0.5; the sums of y[i] and of (i+1) y[i] are exact.
struct BlockVector {
  BlockType type;
  size_t d_at;
  bool has_minimum;
  double sum, weighted;
};

class BlockVectorTest : public ::testing::TestWithParam<BlockVector> {};

TEST_P(BlockVectorTest, HasTheDesignsExactSums) {
  const BlockVector& vector = GetParam();
  const BlockShape shape = BlockShapeOf(vector.type);
  std::vector<uint8_t> bytes(shape.bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(37 * i + 11);
  }
  bytes[vector.d_at] = 0x00;
  bytes[vector.d_at + 1] = 0x3c;
  if (vector.has_minimum) {
    bytes[vector.d_at + 2] = 0x00;
    bytes[vector.d_at + 3] = 0x38;
  }
  std::vector<float> y(shape.elements);
  Dequantise(vector.type, bytes, y);
  double sum = 0, weighted = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    sum += y[i];
    weighted += static_cast<double>(i + 1) * y[i];
  }
  EXPECT_EQ(sum, vector.sum);
  EXPECT_EQ(weighted, vector.weighted);
}

INSTANTIATE_TEST_SUITE_P(
    Types, BlockVectorTest,
    ::testing::Values(BlockVector{BlockType::kQ4_0, 0, false, -21, -518},
                      BlockVector{BlockType::kQ4_1, 0, true, 261, 4247},
                      BlockVector{BlockType::kQ5_0, 0, false, 15, 112},
                      BlockVector{BlockType::kQ5_1, 0, true, 521, 8165},
                      BlockVector{BlockType::kQ8_0, 0, false, -176, -8080},
                      BlockVector{BlockType::kQ4_K, 0, true, 54440, 7572840},
                      BlockVector{BlockType::kQ5_K, 0, true, 116216, 16027448},
                      BlockVector{BlockType::kQ6_K, 208, false, 4612, 784420}),
    [](const auto& info) {
      return std::string(BlockShapeOf(info.param.type).name);
    });

std::vector<float> ReadPairs(BlockType type, std::vector<uint8_t> bytes) {
  std::vector<float> out(bytes.size() / 2);
  Dequantise(type, bytes, out);
  return out;
}

TEST(BlockTypesTest, ReadsEveryKindOfHalf) {
  // IEEE 754 binary16: 1, -2, largest, smallest normal, smallest subnormal.
  const auto y = ReadPairs(
      BlockType::kF16, {0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b, 0x00, 0x04, 0x01,
                        0x00, 0x00, 0x7c, 0x00, 0xfc, 0x01, 0x7e, 0x00, 0x80});
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 5),
            (std::vector<float>{1, -2, 65504, 0x1p-14f, 0x1p-24f}));
  EXPECT_EQ(y[5], INFINITY);
  EXPECT_EQ(y[6], -INFINITY);
  EXPECT_TRUE(std::isnan(y[7]));
  EXPECT_TRUE(y[8] == 0 && std::signbit(y[8]));
}

TEST(BlockTypesTest, ReadsBrainFloats) {
  EXPECT_EQ(ReadPairs(BlockType::kBF16, {0x80, 0x3f, 0x40, 0xc0}),
            (std::vector<float>{1, -3}));
}

TEST(BlockTypesTest, ScalesQ4KInTheOrderOfSubBlocks) {
  // All bytes alike: only the six-bit pairs tell the eight sub-blocks apart.
  std::vector<uint8_t> bytes(144, 0x11);
  bytes[0] = 0x00, bytes[1] = 0x3c, bytes[2] = 0, bytes[3] = 0;
  for (uint8_t j = 0; j < 4; ++j) bytes[4 + j] = j + 1;
  std::vector<float> y(256);
  Dequantise(BlockType::kQ4_K, bytes, y);
  EXPECT_EQ((std::vector<float>{y[0], y[32], y[64], y[96]}),
            (std::vector<float>{1, 2, 3, 4}));
}

// d * 0, and nothing is added to it.
TEST(BlockTypesTest, KeepsTheSignOfZero) {
  for (const BlockType type : {BlockType::kQ4_0, BlockType::kQ5_0}) {
    std::vector<uint8_t> bytes(BlockShapeOf(type).bytes);
    bytes[1] = 0xbc;  // d = -1
    if (type == BlockType::kQ4_0) {
      std::fill(bytes.begin() + 2, bytes.end(), 0x88);
    } else {
      std::fill_n(bytes.begin() + 2, 4, 0xff);  // the fifth bits
    }
    std::vector<float> y(32);
    Dequantise(type, bytes, y);
    for (const float value : y) {
      EXPECT_TRUE(value == 0 && std::signbit(value));
    }
  }
}

TEST(BlockTypesTest, RefusesOtherTypesByNameOrNumber) {
  const auto known = BlockShapeOf(10u).status();
  EXPECT_EQ(known.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(known.message().find("Q2_K"), absl::string_view::npos);
  EXPECT_NE(BlockShapeOf(777u).status().message().find("777"),
            absl::string_view::npos);
}

}  // namespace
}  // namespace edgetune
