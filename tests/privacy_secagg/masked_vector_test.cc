#include "privacy/secagg/masked_vector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

#include "privacy/crypto/mask_stream.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/privacy_secagg/shapes.h"

namespace edgetune::secagg {
namespace {

SecretBytes KeyOf(uint32_t number) {
  SeededRandom random = Seeded(number);
  return RandomSecret(random, 32).value();
}

// Masks of client u among n: its own, and one with each other client, added
// by the larger and subtracted by the smaller of the two (design section 6).
std::vector<MaskTerm> ClientMasks(uint32_t u, uint32_t n) {
  std::vector<MaskTerm> terms;
  terms.push_back({KeyOf(1000 + u), false});
  for (uint32_t v = 0; v < n; ++v) {
    if (v == u) continue;
    terms.push_back(
        {KeyOf(10000 + std::min(u, v) * 1000 + std::max(u, v)), v > u});
  }
  return terms;
}

// What is left of them in the sum of those who survived.
std::vector<MaskTerm> LeftMasks(const std::vector<bool>& survived) {
  std::vector<MaskTerm> terms;
  const auto n = static_cast<uint32_t>(survived.size());
  for (uint32_t u = 0; u < n; ++u) {
    if (!survived[u]) continue;
    auto masks = ClientMasks(u, n);
    terms.push_back({std::move(masks[0].key), true});
    for (uint32_t v = 0; v < n; ++v) {
      if (survived[v]) continue;
      terms.push_back({std::move(masks[v < u ? v + 1 : v].key), v < u});
    }
  }
  return terms;
}

RingVector SomeLanes(const MaskedShape& shape, uint32_t seed) {
  SeededRandom random = Seeded(seed);
  RingVector vector(shape.size());
  for (uint32_t& lane : vector) lane = NextWord(random);
  return vector;
}

std::vector<float> Coordinates(size_t n, uint32_t seed) {
  SeededRandom random = Seeded(seed);
  std::vector<float> values(n);
  for (float& value : values) {
    value =
        static_cast<float>(static_cast<int32_t>(NextWord(random))) * 0x1p-33f;
  }
  return values;
}

RingVector Quantized(const MaskedShape& shape, uint32_t seed) {
  SeededRandom random = Seeded(seed + 500);
  const auto values = Coordinates(shape.coordinates, seed);
  PlainInput input{.coordinates = values};
  for (const auto& lane : shape.lanes) input.lanes[lane.use] = 1;
  return Quantize(shape, input, 0xC0DE, random).value();
}

std::string Masked(const MaskedShape& shape, RingVector vector, uint32_t u,
                   uint32_t n) {
  EXPECT_TRUE(ApplyMasks(ClientMasks(u, n), 1, vector).ok());
  return PackLanes(shape, vector);
}

TEST(PackLanesTest, LanesLieLittleEndianSideBySide) {
  const RingVector lanes = {0xFF12345, 0xABCDEF, 7};
  const auto packed = [&](uint32_t bits) {
    return PackLanes(ShapeOf(bits, 4, 1), lanes);
  };
  using std::string_literals::operator""s;
  EXPECT_EQ(packed(16), "\x45\x23\xEF\xCD\x07\0"s);
  EXPECT_EQ(packed(20), "\x45\x23\xF1\xDE\xBC\x07\0\0"s);
  EXPECT_EQ(packed(24), "\x45\x23\xF1\xEF\xCD\xAB\x07\0\0"s);
  EXPECT_EQ(packed(32), "\x45\x23\xF1\x0F\xEF\xCD\xAB\0\x07\0\0\0"s);
}

TEST(PackLanesTest, UnpackingGivesTheLowBitsBack) {
  for (const uint32_t bits : kRings) {
    for (const size_t coordinates : {0, 1, 2, 7, 1000}) {
      const MaskedShape shape = ShapeOf(bits, 4, coordinates);
      RingVector lanes = SomeLanes(shape, bits);
      const std::string packed = PackLanes(shape, lanes);
      ASSERT_EQ(packed.size(), shape.byte_size());
      for (uint32_t& lane : lanes) {
        lane &= static_cast<uint32_t>((uint64_t{1} << bits) - 1);
      }
      EXPECT_EQ(UnpackLanes(shape, ByteSpan(packed)).value(), lanes);
    }
  }
}

TEST(PackLanesTest, OtherLengthsAndPaddingAreRefused) {
  const MaskedShape shape = ShapeOf(20, 4, 1);  // 60 bits in 8 bytes
  const std::string good(8, '\x0F');
  MaskedSum sum(shape);
  EXPECT_TRUE(UnpackLanes(shape, ByteSpan(good)).ok());
  for (const std::string& bad :
       {std::string(), std::string(1, '\0'), good.substr(1), good + "\x01",
        good.substr(0, 7) + "\x1F", good.substr(0, 7) + "\x80"}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(UnpackLanes(shape, ByteSpan(bad)).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(sum.Add(ByteSpan(bad))));
  }
  EXPECT_EQ(sum.count(), 0u);
  const MaskedShape unknown = ShapeOf(40, 4, 1);
  const std::string packed(unknown.byte_size(), 0);
  EXPECT_TRUE(
      absl::IsInvalidArgument(UnpackLanes(unknown, ByteSpan(packed)).status()));
}

TEST(ApplyMasksTest, EqualsTheStreamsOneByOneForEveryNumberOfThreads) {
  for (const size_t size : {0, 1, 5, 16384, 16385, 50000}) {
    RingVector want(size, 3);
    for (uint32_t i = 0; i < 3; ++i) {
      MaskStream stream = MaskStream::Make(KeyOf(i)).value();
      ASSERT_TRUE(
          (i == 1 ? stream.Subtract(0, want) : stream.Add(0, want)).ok());
    }
    for (const int threads : {-1, 0, 1, 2, 7}) {
      std::vector<MaskTerm> terms;
      for (uint32_t i = 0; i < 3; ++i) terms.push_back({KeyOf(i), i == 1});
      RingVector lanes(size, 3);
      ASSERT_TRUE(ApplyMasks(terms, threads, lanes).ok());
      EXPECT_EQ(lanes, want) << size << " " << threads;
    }
  }
}

TEST(ApplyMasksTest, TakesMoreTermsThanAreHeldAtOnce) {
  RingVector lanes(20, 9);
  std::vector<MaskTerm> terms;
  for (uint32_t i = 0; i < 2 * 1030; ++i) {
    terms.push_back({KeyOf(i % 1030), i >= 1030});
  }
  ASSERT_TRUE(ApplyMasks(terms, 2, lanes).ok());
  EXPECT_EQ(lanes, RingVector(20, 9));
}

TEST(ApplyMasksTest, AKeyOfAnotherLengthIsRefused) {
  RingVector lanes(40000);
  for (const size_t size : {0, 16, 31, 33}) {
    std::vector<MaskTerm> terms;
    terms.push_back({KeyOf(1), false});
    terms.push_back({SecretBytes(size), false});
    EXPECT_TRUE(absl::IsInvalidArgument(ApplyMasks(terms, 2, lanes)));
  }
}

// A1, the part without messages: one masked vector is noise to whoever lacks
// the keys. 330.5 is the 0.999 quantile of chi-square with 255 degrees of
// freedom (scipy.stats.chi2.ppf).
TEST(MaskedVectorTest, A1OneMaskedVectorLooksUniform) {
  const MaskedShape shape = ShapeOf(32, 10, 100000 / kShorter);
  RingVector vector = Quantized(shape, 1);
  const auto plain = Lifted(shape, vector);
  ASSERT_TRUE(ApplyMasks(ClientMasks(3, 10), 1, vector).ok());
  for (int byte = 0; byte < 4; ++byte) {
    std::array<double, 256> seen{};
    for (const uint32_t lane : vector) ++seen[lane >> (8 * byte) & 255];
    const double expected = static_cast<double>(vector.size()) / 256;
    double chi_square = 0;
    for (const double count : seen) {
      chi_square += (count - expected) * (count - expected) / expected;
    }
    EXPECT_LT(chi_square, 330.5) << byte;
  }
  const auto masked = Lifted(shape, vector);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const auto x = static_cast<double>(plain[i]);
    const auto y = static_cast<double>(masked[i]);
    xy += x * y;
    xx += x * x;
    yy += y * y;
  }
  EXPECT_LT(std::fabs(xy / std::sqrt(xx * yy)), 0.02);
}

TEST(MaskedVectorTest, A1TheSumOfMaskedVectorsIsTheSum) {
  for (const uint32_t bits : kRings) {
    for (const uint32_t n : {2, 4, 10}) {
      const MaskedShape shape = ShapeWithLanes(bits, n, 10000);
      std::vector<int64_t> want(shape.size() - 2);
      MaskedSum sum(shape);
      for (uint32_t u = 0; u < n; ++u) {
        const RingVector vector = Quantized(shape, u);
        const auto plain = Lifted(shape, vector);
        for (size_t i = 0; i < want.size(); ++i) want[i] += plain[i];
        ASSERT_TRUE(sum.Add(ByteSpan(Masked(shape, vector, u, n))).ok());
      }
      EXPECT_EQ(
          sum.Unmask(LeftMasks(std::vector<bool>(n, true)), 0xC0DE, 2).value(),
          want);
    }
  }
}

TEST(MaskedVectorTest, MasksOfTheLostComeOffToo) {
  const MaskedShape shape = ShapeOf(24, 10, 1000);
  std::vector<bool> survived(10, true);
  survived[0] = survived[4] = survived[9] = false;
  std::vector<int64_t> want(1000);
  MaskedSum sum(shape);
  for (uint32_t u = 0; u < 10; ++u) {
    if (!survived[u]) continue;
    const RingVector vector = Quantized(shape, u);
    const auto plain = Lifted(shape, vector);
    for (size_t i = 0; i < want.size(); ++i) want[i] += plain[i];
    ASSERT_TRUE(sum.Add(ByteSpan(Masked(shape, vector, u, 10))).ok());
  }
  EXPECT_EQ(sum.count(), 7u);
  EXPECT_EQ(sum.Unmask(LeftMasks(survived), 0xC0DE, 2).value(), want);
}

// One client of A6: every lane at its bound, coordinates beyond theirs.
std::string Extreme(const MaskedShape& shape, uint32_t u) {
  SeededRandom random = Seeded(u);
  const std::vector<float> values = {1e9f, -1e9f};
  const PlainInput input{
      .lanes = {{LaneUse::kWeight, 1}, {LaneUse::kNll, 1000}},
      .coordinates = values};
  return PackLanes(shape, Quantize(shape, input, 9, random).value());
}

// A6: the corners of what honest clients can send.
TEST(MaskedVectorTest, A6ExtremesNeverWrap) {
  for (const uint32_t bits : kRings) {
    for (const uint32_t n : {4, 100, 300}) {
      const MaskedShape shape = ShapeWithLanes(bits, n, 2);
      const double steps = shape.bound * shape.ScaleOf(shape.bound);
      MaskedSum sum(shape);
      for (uint32_t u = 0; u < n; ++u) {
        ASSERT_TRUE(sum.Add(ByteSpan(Extreme(shape, u))).ok());
      }
      EXPECT_TRUE(
          absl::IsInvalidArgument(sum.Add(ByteSpan(Extreme(shape, n)))));
      const auto sums = sum.Unmask({}, 9, 1).value();
      for (const size_t at : {0, 1, 2}) {
        EXPECT_GT(sums[at], n * (steps - 1));
        EXPECT_LT(sums[at], n * (steps + 1));
      }
      EXPECT_GT(sums[3], -(n * (steps + 1)));
      EXPECT_LT(sums[3], -(n * (steps - 1)));
    }
  }
}

// Sums of one vector whose lanes the test sets.
absl::Status UnmaskOne(const MaskedShape& shape, const RingVector& vector) {
  MaskedSum sum(shape);
  EXPECT_TRUE(sum.Add(ByteSpan(PackLanes(shape, vector))).ok());
  return sum.Unmask({}, 9, 1).status();
}

TEST(MaskedSumTest, WrongCanariesAreDataLoss) {
  for (const uint32_t bits : kRings) {
    const MaskedShape shape = ShapeOf(bits, 4, 1);
    EXPECT_TRUE(UnmaskOne(shape, {1, 9, 0}).ok());
    for (const RingVector& bad :
         {RingVector{0, 9, 0}, {2, 9, 0}, {0xFFFFFFFF, 9, 0}, {1, 8, 0}}) {
      EXPECT_TRUE(absl::IsDataLoss(UnmaskOne(shape, bad)));
    }
  }
}

TEST(MaskedSumTest, LanesOutOfBoundsAreDataLoss) {
  // S * B = (2^23 - 1 - 4) / 4 = 2097150.75: at most 2097151 for one client.
  const MaskedShape shape = ShapeWithLanes(24, 4, 2);
  const auto minus = [](uint32_t value) { return 0 - value; };
  EXPECT_TRUE(
      UnmaskOne(shape, {1, 9, 2097151, 0, 2097151, minus(2097151)}).ok());
  for (const RingVector& bad : {RingVector{1, 9, 2097152, 0, 0, 0},
                                {1, 9, minus(1), 0, 0, 0},
                                {1, 9, 0, 2097152, 0, 0},
                                {1, 9, 0, 0, 2097152, 0},
                                {1, 9, 0, 0, 0, minus(2097152)}}) {
    EXPECT_TRUE(absl::IsDataLoss(UnmaskOne(shape, bad)));
  }
}

TEST(MaskedSumTest, AMissingMaskIsDataLoss) {
  const MaskedShape shape = ShapeOf(32, 4, 100);
  MaskedSum sum(shape);
  for (uint32_t u = 0; u < 4; ++u) {
    ASSERT_TRUE(
        sum.Add(ByteSpan(Masked(shape, Quantized(shape, u), u, 4))).ok());
  }
  auto masks = LeftMasks(std::vector<bool>(4, true));
  masks.pop_back();
  EXPECT_TRUE(absl::IsDataLoss(sum.Unmask(masks, 0xC0DE, 1).status()));
}

TEST(MaskedSumTest, HasOneLife) {
  const MaskedShape shape = ShapeOf(32, 4, 1);
  const std::string packed = PackLanes(shape, {1, 9, 0});
  MaskedSum sum(shape);
  EXPECT_TRUE(absl::IsFailedPrecondition(sum.Unmask({}, 9, 1).status()));
  ASSERT_TRUE(sum.Add(ByteSpan(packed)).ok());
  ASSERT_TRUE(sum.Unmask({}, 9, 1).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(sum.Unmask({}, 9, 1).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(sum.Add(ByteSpan(packed))));
}

TEST(MaskedSumTest, ShapesThatCannotBeAreRefused) {
  MaskedSum sum(ShapeOf(16, 30000, 1));
  EXPECT_TRUE(absl::IsInvalidArgument(sum.Add(ByteSpan(std::string(6, '\0')))));
}

TEST(DecodeSumTest, DividesByEachLanesScale) {
  const MaskedShape shape = ShapeWithLanes(24, 2, 2);
  // (2^23 - 3) / 2 is what a bound becomes.
  const double unit = 4194302.5;
  const std::vector<int64_t> sums = {4194302, 2097151, -4194302, 8388605};
  const SumResult result = DecodeSum(shape, sums);
  EXPECT_DOUBLE_EQ(result.lanes.at(LaneUse::kWeight), 4194302 / unit);
  EXPECT_DOUBLE_EQ(result.lanes.at(LaneUse::kNll), 1000 * 2097151 / unit);
  ASSERT_EQ(result.coordinates.size(), 2u);
  EXPECT_FLOAT_EQ(result.coordinates[0], -0.25 * 4194302 / unit);
  EXPECT_FLOAT_EQ(result.coordinates[1], 0.5);
}

TEST(DecodeSumTest, TheWeightedMeanComesBackWithinAStep) {
  const MaskedShape shape = ShapeWithLanes(32, 4, 1000);
  MaskedSum sum(shape);
  std::vector<double> want(1000);
  for (uint32_t u = 0; u < 4; ++u) {
    SeededRandom random = Seeded(u);
    const double weight = 0.25 * (u + 1);
    const auto values = Coordinates(1000, 50 + u);
    for (size_t i = 0; i < 1000; ++i) want[i] += weight * values[i];
    const PlainInput input{
        weight, {{LaneUse::kWeight, weight}, {LaneUse::kNll, 7}}, values};
    ASSERT_TRUE(sum.Add(ByteSpan(PackLanes(
                            shape, Quantize(shape, input, 9, random).value())))
                    .ok());
  }
  const SumResult result = DecodeSum(shape, sum.Unmask({}, 9, 1).value());
  const double total = result.lanes.at(LaneUse::kWeight);
  EXPECT_NEAR(total, 2.5, 4e-8);
  EXPECT_NEAR(result.lanes.at(LaneUse::kNll), 28, 4e-5);
  for (size_t i = 0; i < 1000; ++i) {
    // Four roundings of 4.7e-10, and one to float.
    ASSERT_NEAR(result.coordinates[i], want[i], 4e-8);
  }
}

}  // namespace
}  // namespace edgetune::secagg
