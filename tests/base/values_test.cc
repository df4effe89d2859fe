// Parameters and factors, fixed point, units, clock.
#include <cmath>
#include <limits>

#include "base/clock.h"
#include "base/factors.h"
#include "base/fixed_point.h"
#include "base/log.h"
#include "base/parameters.h"
#include "base/units.h"
#include "gtest/gtest.h"
#include "tests/testing/not_finite.h"

namespace edgetune {
namespace {

using testing::kInf;

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(ParameterLayoutTest, PlacesTensorsOneAfterTheOther) {
  const auto layout = ParameterLayout::Make({{"a", {2, 3}}, {"b", {4}}});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->size(), 10u);
  EXPECT_EQ(layout->tensors()[1].offset, 6u);
  EXPECT_EQ(layout->tensors()[1].count, 4u);
  EXPECT_FALSE(*layout == *ParameterLayout::Make({{"a", {2, 3}}}));
}

TEST(ParameterLayoutTest, RefusesImpossibleTensors) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  EXPECT_FALSE(ParameterLayout::Make({{"a", {2}}, {"a", {3}}}).ok());
  EXPECT_FALSE(ParameterLayout::Make({{"a", {}}}).ok());
  EXPECT_FALSE(ParameterLayout::Make({{"a", {2, 0}}}).ok());
  EXPECT_FALSE(ParameterLayout::Make({{"a", {-2, -3}}}).ok());
  EXPECT_FALSE(ParameterLayout::Make({{"a", {kHuge, 4}}}).ok());
  EXPECT_FALSE(
      ParameterLayout::Make({{"a", {int64_t{1} << 31}}, {"b", {1}}}).ok());
  EXPECT_TRUE(ParameterLayout::Make({{"a", {int64_t{1} << 31}}}).ok());
}

// Bytes from Python: struct.pack("<3f", 1.0, -2.5, 0.1).hex()
TEST(ParametersTest, SerialisesAsLittleEndianFloat32) {
  const ParameterVector values = {1.0f, -2.5f, 0.1f};
  const std::string bytes = SerializeParameters(values);
  EXPECT_EQ(ToHex(bytes), "0000803f000020c0cdcccc3d");
  EXPECT_EQ(*ParseParameters(AsBytes(bytes), 3), values);
}

TEST(ParametersTest, RefusesAnotherLength) {
  const std::string bytes(12, '\0');
  for (size_t expected : {2, 4}) {
    EXPECT_EQ(ParseParameters(AsBytes(bytes), expected).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(ParseParameters(AsBytes(bytes.substr(1)), 3).ok());
}

ParameterLayout TwoLayers() {
  return *ParameterLayout::Make({{"0.q.lora_A", {2, 3}},
                                 {"0.q.lora_B", {4, 2}},
                                 {"1.q.lora_A", {2, 1}},
                                 {"1.q.lora_B", {1, 2}}});
}

TEST(FactorsTest, LayoutsAreTheFactorsInOrder) {
  EXPECT_EQ(LayoutOf(TwoLayers(), Factors::kBoth), TwoLayers());
  EXPECT_EQ(
      LayoutOf(TwoLayers(), Factors::kA),
      *ParameterLayout::Make({{"0.q.lora_A", {2, 3}}, {"1.q.lora_A", {2, 1}}}));
  EXPECT_EQ(
      LayoutOf(TwoLayers(), Factors::kB),
      *ParameterLayout::Make({{"0.q.lora_B", {4, 2}}, {"1.q.lora_B", {1, 2}}}));
}

TEST(FactorsTest, RangesSayWhereTheyStand) {
  using Ranges = std::vector<CoordinateRange>;
  EXPECT_EQ(RangesOf(TwoLayers(), Factors::kBoth), (Ranges{{0, 0, 18}}));
  EXPECT_EQ(RangesOf(TwoLayers(), Factors::kA),
            (Ranges{{0, 0, 6}, {14, 6, 2}}));
  EXPECT_EQ(RangesOf(TwoLayers(), Factors::kB),
            (Ranges{{6, 0, 8}, {16, 8, 2}}));
  EXPECT_TRUE(RangesOf(ParameterLayout(), Factors::kBoth).empty());
}

TEST(FactorsTest, GatherAndScatterAreInverse) {
  ParameterVector adapter(18);
  for (size_t i = 0; i < adapter.size(); ++i)
    adapter[i] = static_cast<float>(i);
  const auto ranges = RangesOf(TwoLayers(), Factors::kA);
  EXPECT_EQ(Gather(adapter, ranges),
            (ParameterVector{0, 1, 2, 3, 4, 5, 14, 15}));
  ParameterVector changed = adapter;
  Scatter(ParameterVector{-1, 1, 2, 3, 4, -5, 14, -15}, ranges, changed);
  adapter[0] = -1, adapter[5] = -5, adapter[15] = -15;
  EXPECT_EQ(changed, adapter);
}

TEST(FixedPointTest, RoundsToTheNearestUnit) {
  const FixedPoint fixed = FixedPoint::Make(32, 1.0, 10).value();
  EXPECT_EQ(fixed.Encode(0), 0);
  EXPECT_EQ(fixed.Encode(2.5 / fixed.scale()), 3);
  EXPECT_EQ(fixed.Encode(-2.5 / fixed.scale()), -3);
  EXPECT_NEAR(fixed.Decode(fixed.Encode(0.123)), 0.123, 0.5 / fixed.scale());
}

TEST(FixedPointTest, NeverLeavesItsBitsAtTheLargestSum) {
  for (int bits : {8, 16, 32, 48}) {
    for (int64_t terms : {1, 7, 100}) {
      const FixedPoint fixed = FixedPoint::Make(bits, 0.3, terms).value();
      const int64_t top = (int64_t{1} << (bits - 1)) - 1;
      EXPECT_LE(terms * fixed.Encode(0.3), top) << bits << " " << terms;
      EXPECT_GE(terms * fixed.Encode(-0.3), -top) << bits << " " << terms;
    }
  }
}

TEST(FixedPointTest, RefusesWhatCannotBe) {
  EXPECT_FALSE(FixedPoint::Make(7, 1, 1).ok());
  EXPECT_FALSE(FixedPoint::Make(63, 1, 1).ok());
  EXPECT_FALSE(FixedPoint::Make(32, 0, 1).ok());
  EXPECT_FALSE(FixedPoint::Make(32, kInf<double>, 1).ok());
  EXPECT_FALSE(FixedPoint::Make(32, std::nan(""), 1).ok());
  EXPECT_FALSE(FixedPoint::Make(32, 1, 0).ok());
  EXPECT_FALSE(FixedPoint::Make(8, 1, 127).ok());
}

TEST(UnitsTest, FormatsBytesInDecimalUnits) {
  EXPECT_EQ(ExactBytes(0), "0B");
  EXPECT_EQ(ExactBytes(450'000'000), "450MB");
  EXPECT_EQ(ExactBytes(1'500'000'000), "1500MB");
  EXPECT_EQ(ExactBytes(1'610'612'736), "1536MiB");
  EXPECT_EQ(ParseBytes(ExactBytes(123'457)), 123'457u);
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.0 kB");
  EXPECT_EQ(FormatBytes(98'400'000), "98.4 MB");
  EXPECT_EQ(FormatBytes(999'960), "1.0 MB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<uint64_t>::max()), "18.4 EB");
}

TEST(UnitsTest, FormatsSecondsForPeople) {
  EXPECT_EQ(FormatSeconds(0.84), "0.8 s");
  EXPECT_EQ(FormatSeconds(125), "2 min 05 s");
  EXPECT_EQ(FormatSeconds(3660), "1 h 01 min");
  EXPECT_EQ(FormatSeconds(59.97), "1 min 00 s");
}

TEST(UnitsTest, TurnsHexBothWaysAndRefusesOtherText) {
  EXPECT_EQ(ToHex(std::string_view("\x00\xff\x10", 3)), "00ff10");
  EXPECT_EQ(*FromHex("00fF10"), std::string("\x00\xff\x10", 3));
  EXPECT_EQ(*FromHex(""), "");
  EXPECT_FALSE(FromHex("abc").has_value());
  EXPECT_FALSE(FromHex("0g").has_value());
  EXPECT_FALSE(FromHex(" 0").has_value());
}

TEST(UnitsTest, FindsTheClosestWordOrNone) {
  const std::vector<std::string> words = {"train.lr", "train.steps", "rank"};
  EXPECT_EQ(ClosestWord("train.stpes", words), "train.steps");
  EXPECT_EQ(ClosestWord("rnk", words), "rank");
  EXPECT_EQ(ClosestWord("colour", words), "");
  EXPECT_EQ(ClosestWord("x", {}), "");
}

TEST(ClockTest, MovesAVirtualClockOnlyWhenTold) {
  VirtualClock clock(absl::FromUnixSeconds(10));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(10));
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(15));
}

TEST(LogTest, KnowsTheNamesOfLevels) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("off", &level));
  EXPECT_EQ(level, LogLevel::kOff);
  EXPECT_FALSE(ParseLogLevel("loud", &level));
  EXPECT_EQ(level, LogLevel::kOff);
}

}  // namespace
}  // namespace edgetune
