#include "tools/simulation/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/status.h"

namespace edgetune {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

std::vector<std::string> NamesOfPoints(const std::vector<std::string>& flags) {
  const auto keys = ParseSweeps(flags);
  EXPECT_TRUE(keys.ok()) << keys.status();
  std::vector<std::string> names;
  for (const SweepPoint& point : PointsOf(*keys)) names.push_back(point.name);
  return names;
}

std::string ErrorOf(const std::vector<std::string>& flags) {
  const absl::Status status = ParseSweeps(flags).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  return std::string(status.message());
}

TEST(SweepTest, PointsAreTheCrossProductWithTheLastKeyFastest) {
  const auto keys = ParseSweeps({"train.lr=1e-4,1e-3", "rounds.cohort=2,4,8"});
  ASSERT_TRUE(keys.ok()) << keys.status();
  const auto points = PointsOf(*keys);
  ASSERT_EQ(points.size(), 6u);
  EXPECT_THAT(points[1].values, ElementsAre("1e-4", "4"));
  EXPECT_THAT(points[3].values, ElementsAre("1e-3", "2"));
  EXPECT_EQ(points[3].name, "lr_1e-3-cohort_2");
}

TEST(SweepTest, AKeyKeepsItsSectionWhereAnotherIsCalledAlike) {
  EXPECT_THAT(NamesOfPoints({"model.x=a", "lora.x=b", "train.lr=1"}),
              ElementsAre("model.x_a-lora.x_b-lr_1"));
}

TEST(SweepTest, NamesAreSafeAndDistinctWhateverTheValues) {
  EXPECT_THAT(NamesOfPoints({"model.base=a/b,a b,../A"}),
              ElementsAre("base_a_b", "base_a_b-2", "base_.._a"));
  const std::string stem(200, 'q');
  const auto names =
      NamesOfPoints({"model.base=" + stem + "1," + stem + "2", "a.b=1,2"});
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), 4u);
  for (const std::string& name : names) EXPECT_LE(name.size(), 64u);
}

TEST(SweepTest, RefusesWhatIsNoSweepByName) {
  EXPECT_THAT(ErrorOf({"train.lr"}), HasSubstr("--sweep train.lr: wanted"));
  EXPECT_THAT(ErrorOf({"=1"}), HasSubstr("wanted section.key=v1,v2"));
  EXPECT_THAT(ErrorOf({"a.b="}), HasSubstr("a value is empty"));
  EXPECT_THAT(ErrorOf({"a.b=1,,2"}), HasSubstr("a value is empty"));
  EXPECT_THAT(ErrorOf({"a.b=1,2,1"}), HasSubstr("1 stands there twice"));
  EXPECT_THAT(ErrorOf({"a.b=1", "a.b=2"}), HasSubstr("a.b is asked for twice"));
}

TEST(SweepTest, AThousandRunsAreTheMostAndNoProductOverflows) {
  const auto many = [](const std::string& key, int count) {
    std::string flag = key + "=0";
    for (int i = 1; i < count; ++i) flag += "," + std::to_string(i);
    return flag;
  };
  EXPECT_TRUE(ParseSweeps({many("a.b", 100), many("a.c", 10)}).ok());
  EXPECT_THAT(ErrorOf({many("a.b", 1001)}), HasSubstr("1001 combinations"));
  std::vector<std::string> flags;
  // 256^8 is 0 in 64 bits.
  for (char c = 'a'; c <= 'h'; ++c) {
    flags.push_back(many(std::string("x.") + c, 256));
  }
  EXPECT_THAT(ErrorOf(flags), HasSubstr("at most 1000 runs"));
}

TEST(SweepTest, SeedsAreSummedUpWhereverTheirKeyStands) {
  // 2, 4 and 9: mean 5, deviation sqrt((9 + 1 + 16) / 2).
  const std::vector<std::optional<double>> last = {2, 4, 9, 1, {}, 3};
  const auto keys = *ParseSweeps({"a.b=x,y", "train.seed=1,2,3"});
  auto spreads = SpreadOverSeeds(keys, last);
  ASSERT_EQ(spreads.size(), 2u);
  EXPECT_EQ(spreads[0].name, "b_x");
  EXPECT_THAT(spreads[0].mean, Optional(5));
  // One rounding of the root.
  EXPECT_THAT(spreads[0].deviation, Optional(DoubleNear(3.6055512755, 1e-9)));
  EXPECT_EQ(spreads[1].runs, 2u);
  EXPECT_THAT(spreads[1].mean, Optional(2));
  const auto turned = *ParseSweeps({"train.seed=1,2,3", "a.b=x,y"});
  spreads = SpreadOverSeeds(turned, {2, 1, 4, {}, 9, 3});
  EXPECT_THAT(spreads[0].mean, Optional(5));
  EXPECT_THAT(spreads[1].mean, Optional(2));
}

TEST(SweepTest, OneSeedOrNoneHasNoDeviation) {
  const auto seeds = *ParseSweeps({"train.seed=1,2"});
  auto spreads = SpreadOverSeeds(seeds, {7, std::nullopt});
  ASSERT_EQ(spreads.size(), 1u);
  EXPECT_EQ(spreads[0].name, "");
  EXPECT_THAT(spreads[0].mean, Optional(7));
  EXPECT_EQ(spreads[0].deviation, std::nullopt);
  spreads = SpreadOverSeeds(seeds, {std::nullopt, std::nullopt});
  EXPECT_EQ(spreads[0].mean, std::nullopt);
  EXPECT_THAT(SpreadOverSeeds(*ParseSweeps({"a.b=1,2"}), {1, 2}), IsEmpty());
}

}  // namespace
}  // namespace edgetune
