#include "models/fused/block_kernels.h"

#include <bit>
#include <cstring>
#include <limits>
#include <memory>

#include "models/io/quantise/quantise.h"
#include "tests/models_fused/kernels.h"

namespace edgetune::fused {
namespace {

class BlockKernelsTest : public KernelsTest {};
INSTANTIATE_FOR_EACH_TARGET(BlockKernelsTest);

constexpr BlockType kTypes[] = {
    BlockType::kF32,  BlockType::kF16,  BlockType::kBF16, BlockType::kQ4_0,
    BlockType::kQ4_1, BlockType::kQ5_0, BlockType::kQ5_1, BlockType::kQ8_0,
    BlockType::kQ4_K, BlockType::kQ5_K, BlockType::kQ6_K};

std::vector<size_t> WidthsOf(BlockType type) {
  const size_t block = BlockShapeOf(type).elements;
  if (block == 1) return {kWidths, kWidths + std::size(kWidths)};
  return {block, 2 * block, 3 * block, 18 * block, 19 * block};
}

// Rows as in a file. Before the first and behind the last byte begins other
// memory, which the address sanitizer watches; the first stands `offset` bytes
// from where an allocation would.
class Stored {
 public:
  Stored(BlockType type, size_t rows, size_t width, size_t offset)
      : shape_(BlockShapeOf(type)), offset_(offset) {
    const size_t row_bytes = width / shape_.elements * shape_.bytes;
    size_ = rows * row_bytes;
    memory_.reset(new uint8_t[offset + size_]);
    view_ = {.type = type,
             .data = memory_.get() + offset,
             .rows = rows,
             .width = width,
             .row_bytes = row_bytes};
  }

  // What Quantise makes of numbers between -1 and 1.
  Stored& Quantised(uint32_t seed) {
    Matrix<float> values(1, view_.rows * view_.width);
    values.Spread(seed, 1);
    Quantise(view_.type, {values.rows().data, view_.rows * view_.width},
             {bytes(), size_});
    return *this;
  }
  // Random bits, but no infinity and no NaN.
  Stored& Random(uint32_t seed) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < size_; ++i) bytes()[i] = random();
    for (size_t at = 0; at < size_; at += shape_.bytes) {
      for (size_t half : Halves()) MakeFinite(bytes() + at + half);
      if (view_.type == BlockType::kF32) bytes()[at + 3] &= 0xbf;
    }
    return *this;
  }
  Stored& Permute(size_t head) {
    view_.permuted_head = head;
    return *this;
  }

  uint8_t* bytes() { return memory_.get() + offset_; }
  const StoredRows& rows() const { return view_; }
  operator const StoredRows&() const { return view_; }

  // Row `row` as it stands, by models/io/quantise.
  std::vector<float> Row(size_t row) const {
    std::vector<float> values(view_.width);
    Dequantise(view_.type,
               {view_.data + row * view_.row_bytes, view_.row_bytes}, values);
    return values;
  }
  // The largest value that may be added up for weight j, of which it is the
  // sum itself: 15 scale, and the offset or 8 scale.
  double Parts(size_t row, size_t j) const {
    const uint8_t* block =
        view_.data + row * view_.row_bytes + j / shape_.elements * shape_.bytes;
    const double scale = std::abs(Half(block));
    if (view_.type == BlockType::kQ4_0) return 23 * scale;
    if (view_.type != BlockType::kQ4_1) return 0;
    return 15 * scale + std::abs(Half(block + 2));
  }

 private:
  static double Half(const uint8_t* p) {
    float value;
    Dequantise(BlockType::kF16, {p, 2}, {&value, 1});
    return value;
  }
  // Where scales and offsets stand in a block, by the format.
  std::vector<size_t> Halves() const {
    switch (view_.type) {
      case BlockType::kF32:
      case BlockType::kBF16:
        return {};
      case BlockType::kQ6_K:
        return {208};
      case BlockType::kQ4_1:
      case BlockType::kQ5_1:
      case BlockType::kQ4_K:
      case BlockType::kQ5_K:
        return {0, 2};
      default:
        return {0};
    }
  }
  static void MakeFinite(uint8_t* half) {
    if ((half[1] & 0x7c) == 0x7c) half[1] &= 0xfb;
  }

  BlockShape shape_;
  size_t offset_, size_;
  std::unique_ptr<uint8_t[]> memory_;
  StoredRows view_;
};

template <typename T>
void ExpectRow(const StoredRows& rows, size_t row,
               const std::vector<float>& want) {
  Matrix<T> out(1, want.size());
  DequantiseRow(rows, row, out.rows().data);
  for (size_t j = 0; j < want.size(); ++j) {
    const T expected = FromFloat<T>(want[j]);
    ASSERT_EQ(std::memcmp(&out.rows().data[j], &expected, sizeof(T)), 0)
        << BlockShapeOf(rows.type).name << ", row " << row << " of width "
        << want.size() << ", " << j << ": " << out(0, j) << ", not " << want[j];
  }
}

TEST_P(BlockKernelsTest, DequantiseRowGivesTheBitsOfDequantise) {
  for (const BlockType type : kTypes) {
    for (const size_t width : WidthsOf(type)) {
      for (const size_t offset : {0, 1, 2}) {
        Stored quantised(type, 3, width, offset);
        Stored random(type, 3, width, offset);
        quantised.Quantised(1);
        random.Random(2);
        for (size_t row = 0; row < 3; ++row) {
          ExpectRow<float>(quantised, row, quantised.Row(row));
          ExpectRow<BFloat16>(quantised, row, quantised.Row(row));
          ExpectRow<float>(random, row, random.Row(row));
          ExpectRow<BFloat16>(random, row, random.Row(row));
        }
      }
    }
  }
}

// As an element and as a scale: infinities, NaNs, subnormal numbers, -0.
TEST_P(BlockKernelsTest, DequantiseRowTakesEveryHalf) {
  Stored halves(BlockType::kF16, 1, 0x10000, 0);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    std::memcpy(halves.bytes() + 2 * bits, &bits, 2);
  }
  std::vector<float> out(0x10000), want = halves.Row(0);
  DequantiseRow(halves, 0, out.data());
  Stored blocks(BlockType::kQ8_0, 1, 32, 0);
  std::vector<float> scaled(32);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if (std::isnan(want[bits])) {
      ASSERT_TRUE(std::isnan(out[bits])) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(out[bits]),
                std::bit_cast<uint32_t>(want[bits]));
    }
    std::memset(blocks.bytes(), 3, 34);
    std::memcpy(blocks.bytes(), &bits, 2);
    DequantiseRow(blocks, 0, scaled.data());
    if (std::isnan(want[bits])) {
      ASSERT_TRUE(std::isnan(scaled[31])) << bits;
    } else {
      ASSERT_EQ(scaled[31], 3 * want[bits]);
    }
  }
}

// Row i of a head of 8 in Hugging Face's order: the first halves of its pairs,
// which stand side by side in the file, then the second halves.
TEST_P(BlockKernelsTest, RowsOfPermutedHeadsAreThoseOfTheirPairs) {
  constexpr size_t kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (const BlockType type : kTypes) {
    const size_t width = 2 * BlockShapeOf(type).elements;
    Stored file(type, 16, width, 1), sorted(type, 16, width, 0);
    file.Quantised(3).Permute(8);
    for (size_t row = 0; row < 16; ++row) {
      const size_t from = row / 8 * 8 + kOrder[row % 8];
      std::memcpy(sorted.bytes() + row * file.rows().row_bytes,
                  file.bytes() + from * file.rows().row_bytes,
                  file.rows().row_bytes);
      ExpectRow<float>(file, row, file.Row(from));
    }
    Matrix<float> x(1, width);
    x.Spread(4, 1);
    DotVector vector;
    vector.Set(x.rows().data, width);
    std::vector<float> y(16), want(16);
    DotRows(file, 0, 16, vector, y.data());
    DotRows(sorted, 0, 16, vector, want.data());
    EXPECT_EQ(y, want) << BlockShapeOf(type).name;
  }
}

// Each of `width` products and the few more that a block has for its scale and
// offset are rounded, and each of their sums: each time by at most 2^-24 of
// what is added up in magnitude.
void ExpectDots(const Stored& rows, const Matrix<float>& x) {
  const size_t width = rows.rows().width, count = rows.rows().rows;
  DotVector vector;
  vector.Set(x.rows().data, width);
  Matrix<float> y(1, count);
  DotRows(rows, 0, count, vector, y.rows().data);
  for (size_t row = 0; row < count; ++row) {
    const std::vector<float> weights = rows.Row(row);
    double sum = 0, size = 0;
    for (size_t j = 0; j < width; ++j) {
      sum += weights[j] * x(0, j);
      size += std::max<double>(std::abs(weights[j]), rows.Parts(row, j)) *
              std::abs(x(0, j));
    }
    const double roundings = static_cast<double>(width) + 8;
    ASSERT_NEAR(y(0, row), sum, std::ldexp(roundings * size, -24))
        << BlockShapeOf(rows.rows().type).name << " of width " << width
        << ", row " << row << " of " << count;
  }
}

TEST_P(BlockKernelsTest, DotRowsSumProducts) {
  for (const BlockType type : kTypes) {
    for (const size_t width : WidthsOf(type)) {
      Matrix<float> x(1, width);
      x.Spread(5, 2);
      for (const size_t offset : {0, 1, 2}) {
        for (const size_t rows : {1, 5, 17}) {
          ExpectDots(Stored(type, rows, width, offset).Quantised(6), x);
        }
      }
    }
  }
}

// Scales and offsets of any size and sign beside each other, x likewise.
TEST_P(BlockKernelsTest, DotRowsSumProductsOfRandomBlocks) {
  for (const BlockType type : kTypes) {
    if (type == BlockType::kF32 || type == BlockType::kBF16) continue;
    for (const size_t width : WidthsOf(type)) {
      Matrix<float> x(1, width);
      std::mt19937 random(7);
      x.Spread(8, 1).Each([&](size_t, size_t j) {
        return std::ldexp(static_cast<float>(x(0, j)),
                          static_cast<int>(random() % 160) - 80);
      });
      ExpectDots(Stored(type, 9, width, 1).Random(9), x);
    }
  }
}

TEST_P(BlockKernelsTest, ProductsOfARowDoNotDependOnTheRange) {
  for (const BlockType type : kTypes) {
    const size_t width = 2 * BlockShapeOf(type).elements;
    Stored rows(type, 21, width, 1);
    rows.Quantised(10);
    Matrix<float> x(1, width);
    x.Spread(11, 1);
    DotVector vector;
    vector.Set(x.rows().data, width);
    std::vector<float> all(21), parts(21);
    DotRows(rows, 0, 21, vector, all.data());
    size_t begin = 0;
    for (const size_t end : {1, 3, 7, 7, 20, 21}) {
      DotRows(rows, begin, end, vector, parts.data() + begin);
      begin = end;
    }
    EXPECT_EQ(parts, all) << BlockShapeOf(type).name;
  }
}

TEST_P(BlockKernelsTest, ADotVectorCanBeSetAgain) {
  DotVector vector;
  for (const size_t width : {64, 7, 96, 32}) {
    Matrix<float> x(1, width);
    x.Spread(12, 1);
    vector.Set(x.rows().data, width);
    const BlockType type = width == 7 ? BlockType::kF16 : BlockType::kQ4_1;
    Stored rows(type, 2, width, 0);
    rows.Quantised(13);
    float y[2], want[2];
    DotRows(rows, 0, 2, vector, y);
    DotVector fresh;
    fresh.Set(x.rows().data, width);
    DotRows(rows, 0, 2, fresh, want);
    EXPECT_EQ(y[0], want[0]);
    EXPECT_EQ(y[1], want[1]);
  }
}

TEST(BlockKernelsDeathTest, DotRowsRefusesAnotherWidth) {
  const std::vector<float> x(32);
  DotVector vector;
  vector.Set(x.data(), x.size());
  float y;
  EXPECT_DEATH(DotRows(Stored(BlockType::kQ4_0, 1, 64, 0), 0, 1, vector, &y),
               "");
}

}  // namespace
}  // namespace edgetune::fused
