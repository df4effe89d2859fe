#include "privacy/crypto/mask_stream.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>
#include <vector>

#include "base/units.h"
#include "privacy/crypto/hash.h"

namespace edgetune {
namespace {

using Words = std::vector<uint32_t>;

// The bytes 0, 1, ... , 31.
SecretBytes CountingKey() {
  SecretBytes key(32);
  for (size_t i = 0; i < key.size(); ++i) {
    key.bytes()[i] = static_cast<uint8_t>(i);
  }
  return key;
}

MaskStream Counting() { return MaskStream::Make(CountingKey()).value(); }

Words WordsAt(MaskStream& stream, uint64_t first, size_t n) {
  Words words(n);
  EXPECT_TRUE(stream.Add(first, words).ok());
  return words;
}

std::string BytesOf(const Words& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * 4};
}

// Three blocks under the zero key and IV: McGrew and Viega, "The Galois/Counter
// Mode of Operation", test cases 13 (H; the tag is the second block), 14 (C).
TEST(MaskStreamTest, IsThePublishedKeyStreamReadAsLittleEndianWords) {
  auto stream = MaskStream::Make(SecretBytes(32));
  ASSERT_TRUE(stream.ok());
  const Words words = WordsAt(*stream, 0, 12);
  EXPECT_EQ(ToHex(BytesOf(words)),
            "dc95c078a2408989ad48a21492842087"
            "530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e074ec5d3baf39d18");
  EXPECT_EQ(words[0], 0x78c095dcu);
}

// PyCryptodome 3.x (an AES of its own), blocks in ECB with big-endian counters
// of 16 bytes: words from 2^34 - 2 on cross the carry out of 32 counter bits.
TEST(MaskStreamTest, EqualsAnotherImplementationFarFromTheStart) {
  MaskStream stream = Counting();
  EXPECT_EQ(WordsAt(stream, 0, 6), (Words{0xb60090f2, 0xd09f492a, 0x6a9af3a9,
                                          0x80772edd, 0xae765df0, 0xe59fb94a}));
  EXPECT_EQ(WordsAt(stream, (uint64_t{1} << 34) - 2, 6),
            (Words{0x106afea9, 0x9e566e8c, 0x3a1a1d64, 0xf6cfbe80, 0x978ff3f0,
                   0x96cffd64}));
  EXPECT_EQ(WordsAt(stream, (uint64_t{1} << 40) + 3, 6),
            (Words{0x1ed9946b, 0xa0ce4c56, 0x103aa008, 0xe2fc3080, 0xca0b3f10,
                   0x4bef9bdb}));
  EXPECT_EQ(WordsAt(stream, std::numeric_limits<uint64_t>::max() - 2, 6),
            (Words{0xabfb68d9, 0x6cf3ca70, 0xb93ee63b, 0xe19a8214, 0x298a4537,
                   0xeedd97f2}));
}

// PyCryptodome 3.x, CTR; more words than fit a tile, and no multiple of one.
TEST(MaskStreamTest, ALongMaskEqualsAnotherImplementation) {
  MaskStream stream = Counting();
  EXPECT_EQ(ToHex(Sha256(BytesOf(WordsAt(stream, 0, 100'003)))),
            "8c3fbd14d14340336eb31b8491a1406b9201c446fc2bc7ff268a332af6e3d630");
}

TEST(MaskStreamTest, AnyPieceEqualsThatPieceOfTheWhole) {
  MaskStream stream = Counting();
  const Words whole = WordsAt(stream, 0, 9000);
  for (size_t first = 0; first <= 40; ++first) {
    for (const size_t n :
         {0,  1,    2,    3,    4,    5,    7,    8,    9,    16,  31,
          64, 2044, 2045, 2046, 2047, 2048, 2049, 4096, 4099, 8191}) {
      const Words wanted(whole.begin() + first, whole.begin() + first + n);
      ASSERT_EQ(WordsAt(stream, first, n), wanted) << first << " " << n;
    }
  }
}

TEST(MaskStreamTest, SumsMayLieAnywhereAndNothingAroundThemIsTouched) {
  MaskStream stream = Counting();
  const Words wanted = WordsAt(stream, 5, 3000);
  for (size_t before = 0; before <= 17; ++before) {
    Words sums(before + 3000 + 20, 0xabababab);
    const std::span<uint32_t> middle = std::span(sums).subspan(before, 3000);
    std::fill(middle.begin(), middle.end(), 0);
    ASSERT_TRUE(stream.Add(5, middle).ok());
    EXPECT_TRUE(std::equal(middle.begin(), middle.end(), wanted.begin()));
    EXPECT_EQ(std::count(sums.begin(), sums.end(), 0xabababab), before + 20);
  }
}

TEST(MaskStreamTest, AdditionWrapsAndSubtractionUndoesIt) {
  MaskStream stream = Counting();
  const Words mask = WordsAt(stream, 3, 5000);
  Words sums(5000, 0xfffffff0u);
  ASSERT_TRUE(stream.Add(3, sums).ok());
  for (size_t i = 0; i < sums.size(); ++i) {
    ASSERT_EQ(sums[i], static_cast<uint32_t>(mask[i] + uint64_t{0xfffffff0}));
  }
  ASSERT_TRUE(stream.Subtract(3, sums).ok());
  EXPECT_EQ(sums, Words(5000, 0xfffffff0u));
  ASSERT_TRUE(stream.Subtract(3, sums).ok());
  for (size_t i = 0; i < sums.size(); ++i) {
    ASSERT_EQ(sums[i] + mask[i], 0xfffffff0u);
  }
}

// The mask formula of two peers: what one adds, the other takes away.
TEST(MaskStreamTest, PairwiseMasksVanishInTheSum) {
  MaskStream mine = Counting();
  MaskStream theirs = Counting();
  Words a(1000, 7), b(1000, 0xfffffffeu);
  ASSERT_TRUE(mine.Add(0, a).ok());
  ASSERT_TRUE(theirs.Subtract(0, b).ok());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i] + b[i], 5u);
}

TEST(MaskStreamTest, AKeyOfAnotherSizeIsRefused) {
  for (const size_t size : {0, 16, 24, 31, 33, 64}) {
    EXPECT_EQ(MaskStream::Make(SecretBytes(size)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << size;
  }
}

}  // namespace
}  // namespace edgetune
