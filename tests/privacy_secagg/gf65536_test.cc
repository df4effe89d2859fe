#include "privacy/secagg/gf65536.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/privacy_secagg/random_sources.h"

namespace edgetune::secagg {
namespace {

// Another way: the whole carry-less product, then long division by 0x1100B.
uint16_t SlowMultiply(uint32_t a, uint32_t b) {
  uint64_t product = 0;
  for (int bit = 0; bit < 16; ++bit) {
    if ((b >> bit & 1) != 0) product ^= uint64_t{a} << bit;
  }
  for (int bit = 31; bit >= 16; --bit) {
    if ((product >> bit & 1) != 0) product ^= uint64_t{0x1100B} << (bit - 16);
  }
  return static_cast<uint16_t>(product);
}

uint16_t Power(uint16_t base, uint32_t exponent) {
  uint16_t power = 1;
  for (; exponent > 0; --exponent) power = GfMultiply(power, base);
  return power;
}

TEST(Gf65536Test, MultipliesLikeLongDivision) {
  SeededRandom random = Seeded(1);
  for (int i = 0; i < 100000; ++i) {
    const uint32_t word = NextWord(random);
    const auto a = static_cast<uint16_t>(word);
    const auto b = static_cast<uint16_t>(word >> 16);
    ASSERT_EQ(GfMultiply(a, b), SlowMultiply(a, b)) << a << " " << b;
  }
  for (uint32_t a = 0; a < 65536; ++a) {
    ASSERT_EQ(GfMultiply(static_cast<uint16_t>(a), 0xFFFF),
              SlowMultiply(a, 0xFFFF));
  }
}

TEST(Gf65536Test, KeepsTheAxiomsOfAField) {
  SeededRandom random = Seeded(2);
  for (int i = 0; i < 10000; ++i) {
    const auto a = static_cast<uint16_t>(NextWord(random));
    const auto b = static_cast<uint16_t>(NextWord(random));
    const auto c = static_cast<uint16_t>(NextWord(random));
    ASSERT_EQ(GfMultiply(a, b), GfMultiply(b, a));
    ASSERT_EQ(GfMultiply(GfMultiply(a, b), c), GfMultiply(a, GfMultiply(b, c)));
    ASSERT_EQ(GfMultiply(a, b ^ c), GfMultiply(a, b) ^ GfMultiply(a, c));
    ASSERT_EQ(GfMultiply(a, 1), a);
    ASSERT_EQ(GfMultiply(a, 0), 0);
  }
}

TEST(Gf65536Test, EveryElementButZeroHasAnInverse) {
  EXPECT_EQ(GfInverse(0), 0);
  for (uint32_t a = 1; a < 65536; ++a) {
    const auto element = static_cast<uint16_t>(a);
    ASSERT_EQ(GfMultiply(element, GfInverse(element)), 1) << a;
  }
}

// 65,535 = 3 * 5 * 17 * 257: an element of that order generates everything.
TEST(Gf65536Test, ZIsAGenerator) {
  EXPECT_EQ(Power(2, 65535), 1);
  for (const uint32_t prime : {3, 5, 17, 257}) {
    EXPECT_NE(Power(2, 65535 / prime), 1);
  }
}

TEST(Gf65536Test, BlocksAreSixteenProducts) {
  SeededRandom random = Seeded(3);
  for (const uint32_t factor : {0, 1, 2, 3, 300, 32768, 65535}) {
    std::array<uint16_t, kGfBlock> value, addend, scaled, sum;
    for (size_t i = 0; i < kGfBlock; ++i) {
      value[i] = scaled[i] = static_cast<uint16_t>(NextWord(random));
      addend[i] = sum[i] = static_cast<uint16_t>(NextWord(random));
    }
    GfScaleAdd(static_cast<uint16_t>(factor), addend, scaled);
    GfMultiplyAdd(static_cast<uint16_t>(factor), value, sum);
    for (size_t i = 0; i < kGfBlock; ++i) {
      const uint16_t want = SlowMultiply(value[i], factor) ^ addend[i];
      EXPECT_EQ(scaled[i], want);
      EXPECT_EQ(sum[i], want);
    }
  }
}

TEST(Gf65536Test, BytesAreBigEndianWords) {
  std::array<uint8_t, 32> bytes{};
  bytes[0] = 0x12;
  bytes[1] = 0x34;
  bytes[31] = 0x56;
  std::array<uint16_t, kGfBlock> block;
  GfLoad(bytes, block);
  EXPECT_EQ(block[0], 0x1234);
  EXPECT_EQ(block[15], 0x0056);
  std::array<uint8_t, 32> back{};
  GfStore(block, back);
  EXPECT_EQ(back, bytes);
}

}  // namespace
}  // namespace edgetune::secagg
