#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "privacy/secagg/masked_vector.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/privacy_secagg/shapes.h"
#include "tests/testing/not_finite.h"

namespace edgetune::secagg {
namespace {

using testing::kInf;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Uniform in [-1/4, 1/4).
std::vector<float> Uniform(size_t n, uint32_t seed) {
  SeededRandom random = Seeded(seed);
  std::vector<uint32_t> words(n);
  EXPECT_TRUE(
      random.Fill({reinterpret_cast<uint8_t*>(words.data()), 4 * n}).ok());
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(words[i] >> 8) * 0x1p-25f - 0.25f;
  }
  return values;
}

// A random source whose next 32-bit words are these.
std::vector<uint8_t> Script(const std::vector<uint32_t>& words) {
  std::vector<uint8_t> bytes;
  for (const uint32_t word : words) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<uint8_t>(word >> shift));
    }
  }
  return bytes;
}

absl::Status Refused(const MaskedShape& shape, const PlainInput& input) {
  SeededRandom random = Seeded(0);
  return Quantize(shape, input, 0, random).status();
}

// A bound of 32,766 / 2^16 makes the scale of one client's 16 bits 2^16, so
// that every product here is exact.
TEST(QuantizeTest, IsTheFloorOfValueTimesScalePlusU) {
  MaskedShape shape = ShapeOf(16, 1, 7);
  shape.bound = 32766 * 0x1p-16;
  const std::vector<float> values = {0.75 * 0x1p-16,
                                     0.75 * 0x1p-16,
                                     -0.75 * 0x1p-16,
                                     -0.75 * 0x1p-16,
                                     3 * 0x1p-16,
                                     -3 * 0x1p-16,
                                     0};
  const auto script = Script({0x3FFFFFFF, 0x40000000, 0xBFFFFFFF, 0xC0000000,
                              0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF});
  ScriptedRandom random(script);
  const RingVector vector =
      Quantize(shape, {.coordinates = values}, 0xABCD, random).value();
  EXPECT_EQ(vector[0], 1u);
  EXPECT_EQ(vector[1], 0xABCDu);
  EXPECT_THAT(Lifted(shape, vector),
              ::testing::ElementsAre(0, 1, -1, 0, 3, -3, 0));
}

TEST(QuantizeTest, LanesComeBeforeCoordinatesAndTheWeightMultiplies) {
  const MaskedShape shape = ShapeWithLanes(24, 2, 1);
  const float value = 0.125;
  ScriptedRandom random({});
  const RingVector vector =
      Quantize(shape,
               {.weight = 0.5,
                .lanes = {{LaneUse::kNll, 250}, {LaneUse::kWeight, 0.5}},
                .coordinates = {&value, 1}},
               7, random)
          .value();
  // floor of half, a quarter, a quarter of (2^23 - 1 - 2) / 2.
  EXPECT_THAT(vector, ::testing::ElementsAre(1, 7, 2097151, 1048575, 1048575));
}

TEST(QuantizeTest, ClampsToTheBoundAndCountsIt) {
  const MaskedShape shape = ShapeOf(20, 3, 4);
  const std::vector<float> values = {0.25f, 0.3f, -3e38f, -0.25f};
  ScriptedRandom random({});
  const RingVector vector =
      Quantize(shape, {.coordinates = values}, 0, random).value();
  // (2^19 - 1 - 3) / 3 = 174761.33: floor of it and of its negative.
  EXPECT_THAT(Lifted(shape, vector),
              ::testing::ElementsAre(174761, 174761, -174762, -174762));
  EXPECT_EQ(CountClamped(shape, values), 2u);
}

// A7: rounding does not lean. Error of a mean of n has at most the standard
// deviation step / (2 sqrt(n)) of design section 5.
TEST(QuantizeTest, A7RoundingIsUnbiasedAndAsExactAsItsStepSays) {
  constexpr int kClients = 10;
  constexpr size_t kCoordinates = 1000000 / kShorter;
  const MaskedShape shape = ShapeOf(16, 100, kCoordinates);
  const double scale = shape.ScaleOf(shape.bound);
  std::vector<double> errors(kCoordinates);  // in steps
  double bias = 0;
  for (int client = 0; client < kClients; ++client) {
    const std::vector<float> values = Uniform(kCoordinates, 100 + client);
    SeededRandom random = Seeded(200 + client);
    const auto lanes = Lifted(
        shape, Quantize(shape, {.coordinates = values}, 0, random).value());
    for (size_t i = 0; i < kCoordinates; ++i) {
      const double error = static_cast<double>(lanes[i]) - values[i] * scale;
      errors[i] += error / kClients;
      bias += error / (kClients * kCoordinates);
    }
  }
  const double deviation = 1 / (2 * std::sqrt(kClients));
  size_t beyond_four = 0;
  for (const double error : errors) {
    ASSERT_LT(std::fabs(error), 6 * deviation);
    beyond_four += std::fabs(error) > 4 * deviation ? 1 : 0;
  }
  EXPECT_LE(beyond_four, kCoordinates / 10000);
  EXPECT_LT(std::fabs(bias), 5e-4 * std::sqrt(kShorter));
}

TEST(QuantizeTest, NotANumberIsRefusedByItsPlace) {
  const MaskedShape shape = ShapeOf(32, 4, 1000);
  for (const float bad : {kNan, -kNan, kInf<float>, -kInf<float>}) {
    std::vector<float> values(1000, 0.1f);
    values[777] = bad;
    const absl::Status status = Refused(shape, {.coordinates = values});
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_EQ(status.message(), "coordinate 777 is not a finite number");
  }
}

TEST(QuantizeTest, InputsOfAnotherShapeAreRefused) {
  const MaskedShape shape = ShapeWithLanes(32, 4, 2);
  const std::vector<float> values(3, 0.1f);
  const std::span<const float> two = std::span(values).first(2);
  const std::map<LaneUse, double> lanes = {{LaneUse::kWeight, 1},
                                           {LaneUse::kNll, 5}};
  EXPECT_TRUE(Refused(shape, {1, lanes, two}).ok());
  const PlainInput kBad[] = {
      {1, lanes, values},
      {1, lanes, two.first(1)},
      {1, {}, two},
      {1, {{LaneUse::kWeight, 1}}, two},
      {1, {{LaneUse::kWeight, 1}, {LaneUse::kTokens, 5}}, two},
      {1,
       {{LaneUse::kWeight, 1}, {LaneUse::kNll, 5}, {LaneUse::kTokens, 5}},
       two},
      {1, {{LaneUse::kWeight, 1}, {LaneUse::kNll, 1000.001}}, two},
      {1, {{LaneUse::kWeight, 1}, {LaneUse::kNll, -1}}, two},
      {1, {{LaneUse::kWeight, 1}, {LaneUse::kNll, kNan}}, two},
      {1, {{LaneUse::kWeight, 0.5}, {LaneUse::kNll, 5}}, two},
      {0, {{LaneUse::kWeight, 0}, {LaneUse::kNll, 5}}, two},
      {1.5, {{LaneUse::kWeight, 1.5}, {LaneUse::kNll, 5}}, two},
      {kNan, {{LaneUse::kWeight, kNan}, {LaneUse::kNll, 5}}, two},
  };
  for (const PlainInput& input : kBad) {
    EXPECT_TRUE(absl::IsInvalidArgument(Refused(shape, input)));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      Refused(ShapeOf(32, 4, 2), {.weight = 0.5, .coordinates = two})));
}

TEST(QuantizeTest, WithoutRandomnessThereIsNoVector) {
  const MaskedShape shape = ShapeOf(32, 4, 10000);
  const std::vector<float> values(10000, 0.1f);
  for (const int calls : {0, 1, 2}) {
    FailingRandom random(calls);
    EXPECT_TRUE(absl::IsInternal(
        Quantize(shape, {.coordinates = values}, 0, random).status()));
  }
}

TEST(QuantizeTest, ShapesThatCannotBeAreRefused) {
  std::vector<MaskedShape> shapes(11, ShapeWithLanes(32, 4, 2));
  shapes[0].bits = 0;
  shapes[1].bits = 31;
  shapes[2].bits = 64;
  shapes[3].n_max = 0;
  shapes[4].bound = 0;
  shapes[5].bound = kNan;
  shapes[6].lanes[1].bound = kInf<float>;
  shapes[7].lanes[1].use = LaneUse::kWeight;
  shapes[8].n_max = 1u << 31;
  shapes[9].bound = -0.25;
  shapes[10] = ShapeOf(32, 0, 0);
  for (const MaskedShape& shape : shapes) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckShape(shape)));
    EXPECT_EQ(Refused(shape, {}), CheckShape(shape));
  }
}

// A6, the clients' half: one client more, or a larger scale, is not a warning.
TEST(QuantizeTest, A6AScaleThatCouldWrapIsRefused) {
  for (const uint32_t bits : kRings) {
    for (const uint32_t n_max : {1, 3, 4, 100, 300, 1000}) {
      MaskedShape shape = ShapeOf(bits, n_max, 1);
      const double scale = shape.ScaleOf(shape.bound);
      EXPECT_TRUE(CheckShape(shape).ok()) << bits << " " << n_max;
      EXPECT_TRUE(FitsRing(shape, shape.bound, scale));
      const double largest = std::ldexp(1, static_cast<int>(bits) - 1) - 1;
      EXPECT_FALSE(FitsRing(shape, shape.bound,
                            std::floor(largest / n_max) / shape.bound));
      EXPECT_FALSE(FitsRing(shape, shape.bound, kInf<float>));
      EXPECT_FALSE(FitsRing(shape, shape.bound, kNan));
      EXPECT_FALSE(FitsRing(shape, shape.bound, 0));
      EXPECT_FALSE(FitsRing(shape, shape.bound, -scale));
    }
  }
  // 16 bits have 32,767 / n_max - 1 steps for a bound: not one is left here.
  EXPECT_TRUE(CheckShape(ShapeOf(16, 16383, 1)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckShape(ShapeOf(16, 16384, 1))));
}

}  // namespace
}  // namespace edgetune::secagg
