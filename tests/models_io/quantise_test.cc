#include "models/io/quantise/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/units.h"
#include "tests/models_io/vector_file.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::kInf;

constexpr size_t kValues = 512;

std::string Quantised(BlockType type, const std::vector<float>& values) {
  const BlockShape shape = BlockShapeOf(type);
  std::string bytes(values.size() / shape.elements * shape.bytes, 0);
  Quantise(type, values,
           {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return bytes;
}

// The inputs of vectors/make_quantise_vectors.py.
std::vector<float> Uniform() {
  std::vector<float> values(kValues);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state >> 8) - (1 << 23)) *
            0x1p-24f;
  }
  return values;
}

std::vector<float> Input(const std::string& kind) {
  const std::vector<float> x = Uniform();
  std::vector<float> values(kValues);
  for (size_t i = 0; i < kValues; ++i) {
    values[i] = kind == "uniform"    ? x[i]
                : kind == "cubed"    ? x[i] * x[i] * x[i]
                : kind == "positive" ? std::fabs(x[i])
                : kind == "holes"    ? (i / 16 % 3 == 0 ? 0 : x[i])
                : kind == "faint"    ? x[i] * 0x1p-30f
                                     : x[i / 32 * 32];
  }
  return values;
}

TEST(QuantiseTest, MakesTheBlocksOfGgmlsReference) {
  const auto rows = testing::ReadVectors("quantise.tsv");
  ASSERT_EQ(rows.size(), 48u);
  for (const std::vector<std::string>& row : rows) {
    const auto type = static_cast<BlockType>(std::stoul(row[0]));
    EXPECT_EQ(ToHex(Quantised(type, Input(row[1]))), row[2])
        << BlockShapeOf(type).name << " " << row[1];
  }
}

// What a block can hold comes back as it was: quantising again changes nothing.
TEST(QuantiseTest, PlainTypesAreAFixedPointOfTheirOwnValues) {
  for (const BlockType type :
       {BlockType::kQ4_0, BlockType::kQ5_0, BlockType::kQ8_0}) {
    const std::string once = Quantised(type, Input("cubed"));
    std::vector<float> values(kValues);
    Dequantise(type,
               {reinterpret_cast<const uint8_t*>(once.data()), once.size()},
               values);
    EXPECT_EQ(ToHex(Quantised(type, values)), ToHex(once))
        << BlockShapeOf(type).name;
  }
}

uint16_t Pair(BlockType type, float value) {
  uint16_t pair;
  Quantise(type, {&value, 1}, {reinterpret_cast<uint8_t*>(&pair), 2});
  return pair;
}

// IEEE 754 binary16, to nearest, ties to even.
TEST(QuantiseTest, RoundsHalves) {
  const std::map<float, uint16_t> expected = {
      {0.0f, 0x0000},           {1.0f, 0x3c00},
      {-2.0f, 0xc000},          {65504, 0x7bff},
      {65519.99f, 0x7bff},      {65520, 0x7c00},
      {-1e9f, 0xfc00},          {kInf<float>, 0x7c00},
      {0x1p-14f, 0x0400},       {0x1p-24f, 0x0001},
      {0x1p-25f, 0x0000},       {0x1.000002p-25f, 0x0001},
      {0x1.8p-24f, 0x0002},     {1 + 0x1p-11f, 0x3c00},
      {1 + 0x1.8p-10f, 0x3c02}, {1 + 0x1.000002p-11f, 0x3c01}};
  for (const auto& [value, half] : expected) {
    EXPECT_EQ(Pair(BlockType::kF16, value), half) << value;
  }
  EXPECT_EQ(Pair(BlockType::kF16, -0.0f), 0x8000);
  EXPECT_EQ(Pair(BlockType::kF16, std::nanf("")) & 0x7e00, 0x7e00);
}

// Every half is its own nearest half.
TEST(QuantiseTest, HalvesAndBrainFloatsComeBackBitForBit) {
  for (const BlockType type : {BlockType::kF16, BlockType::kBF16}) {
    for (uint32_t bits = 0; bits < 1u << 16; ++bits) {
      const auto pair = static_cast<uint16_t>(bits);
      float value;
      Dequantise(type, {reinterpret_cast<const uint8_t*>(&pair), 2},
                 {&value, 1});
      if (!std::isnan(value)) {
        EXPECT_EQ(Pair(type, value), pair);
      }
    }
  }
}

TEST(QuantiseTest, RoundsBrainFloats) {
  EXPECT_EQ(Pair(BlockType::kBF16, 1), 0x3f80);
  EXPECT_EQ(Pair(BlockType::kBF16, 1 + 0x1p-8f), 0x3f80);    // tie: to even
  EXPECT_EQ(Pair(BlockType::kBF16, 1 + 0x1.8p-7f), 0x3f82);  // tie: to even
  EXPECT_EQ(Pair(BlockType::kBF16, 3.4e38f), 0x7f80);
  EXPECT_EQ(Pair(BlockType::kBF16, std::nanf("")) & 0x7fc0, 0x7fc0);
}

TEST(QuantiseTest, ATypeThatDoesNotFitARowIsReplaced) {
  using enum BlockType;
  EXPECT_EQ(TypeForColumns(kQ4_K, 1536), kQ4_K);
  EXPECT_EQ(TypeForColumns(kQ4_K, 576), kQ5_0);
  EXPECT_EQ(TypeForColumns(kQ5_K, 576), kQ5_1);
  EXPECT_EQ(TypeForColumns(kQ6_K, 576), kQ8_0);
  EXPECT_EQ(TypeForColumns(kQ8_0, 576), kQ8_0);
  EXPECT_EQ(TypeForColumns(kQ4_0, 100), kF16);
  EXPECT_EQ(TypeForColumns(kF32, 100), kF32);
}

constexpr BlockType kLevelTypes[] = {BlockType::kQ4_0, BlockType::kQ4_1,
                                     BlockType::kQ5_0, BlockType::kQ5_1,
                                     BlockType::kQ8_0};

TEST(QuantiseTest, ABlockOfLevelsSaysThem) {
  for (const BlockType type : kLevelTypes) {
    ASSERT_TRUE(HasLevels(type));
    std::vector<float> weights;
    for (int i = 0; i < 32; ++i) weights.push_back(std::sin(1.7f * i) - 0.2f);
    const LevelGrid grid = GridFor(type, weights);
    // Every level, in blocks of 32.
    for (int first = grid.least; first <= grid.most; first += 32) {
      std::vector<int> levels(32, grid.least);
      for (int i = 0; i < 32; ++i) {
        levels[i] = std::min(first + i, grid.most);
        EXPECT_EQ(grid.Nearest(grid.ValueOf(levels[i])), levels[i]);
      }
      std::vector<uint8_t> block(BlockShapeOf(type).bytes);
      StoreLevels(type, grid, levels, block);
      std::vector<float> values(32);
      Dequantise(type, block, values);
      for (int i = 0; i < 32; ++i) {
        EXPECT_FLOAT_EQ(values[i], grid.ValueOf(levels[i])) << levels[i];
      }
    }
    EXPECT_EQ(grid.Nearest(1e9f * grid.scale), grid.most);
    EXPECT_EQ(grid.Nearest(-1e9f * grid.scale), grid.least);
  }
  for (const BlockType type : {BlockType::kF32, BlockType::kQ4_K}) {
    EXPECT_FALSE(HasLevels(type));
  }
}

TEST(QuantiseTest, TheNearestLevelIsNoFartherThanQuantisesOwn) {
  for (const BlockType type : kLevelTypes) {
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<float> weights, values(32);
      for (int i = 0; i < 32; ++i) {
        weights.push_back(std::sin(static_cast<float>(i * (trial + 3))));
      }
      std::vector<uint8_t> block(BlockShapeOf(type).bytes);
      Quantise(type, weights, block);
      Dequantise(type, block, values);
      const LevelGrid grid = GridFor(type, weights);
      for (int i = 0; i < 32; ++i) {
        const float nearest = grid.ValueOf(grid.Nearest(weights[i]));
        EXPECT_LE(std::fabs(nearest - weights[i]),
                  std::fabs(values[i] - weights[i]) + 1e-6f);
      }
    }
  }
}

TEST(QuantiseTest, ABlockOfZerosHasOneLevel) {
  for (const BlockType type : kLevelTypes) {
    const LevelGrid grid = GridFor(type, std::vector<float>(32, 0.0f));
    EXPECT_EQ(grid.scale, 0);
    EXPECT_EQ(grid.ValueOf(grid.Nearest(0)), 0);
  }
}

}  // namespace
}  // namespace edgetune
