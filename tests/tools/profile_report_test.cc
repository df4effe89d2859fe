#include "tools/local/profile_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace edgetune {
namespace {

using ::testing::HasSubstr;

size_t At(StepPart part) { return static_cast<size_t>(part); }

// 4 s in all, of two segments.
StepProfile Sum() {
  StepProfile sum{}, other{};
  sum[At(StepPart::kProducts)] = {.seconds = 1, .flops = 2e12};
  sum[At(StepPart::kRest)].seconds = 0.5;
  other[At(StepPart::kProducts)] = {.seconds = 2, .flops = 4e12};
  other[At(StepPart::kHead)].seconds = 0.5;
  AddProfile(other, sum);
  return sum;
}

TEST(ProfileReportTest, TheTableHasARowAPart) {
  const std::string table = ProfileTable(Sum(), 40);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 2 + 9);
  EXPECT_THAT(table, HasSubstr("\nproducts       75.00   75.0 %       150.000"
                               "    2.000\n"));
  EXPECT_THAT(table, HasSubstr("\nhead           12.50   12.5 %\n"));
  EXPECT_THAT(table, HasSubstr("\nall           100.00  100.0 %\n"));
}

TEST(ProfileReportTest, TheJsonHasTheSame) {
  const nlohmann::json json = ProfileJson(Sum(), 40);
  EXPECT_EQ(json["steps"], 40);
  ASSERT_EQ(json["parts"].size(), 9);
  const nlohmann::json products = {{"part", "products"},
                                   {"ms_a_step", 75.0},
                                   {"share", 0.75},
                                   {"gflop_a_step", 150.0},
                                   {"tflop_a_second", 2.0}};
  EXPECT_EQ(json["parts"][0], products);
  EXPECT_FALSE(json["parts"][1].contains("gflop_a_step"));
}

TEST(ProfileReportTest, NothingMeasuredIsNoDivisionByNothing) {
  const std::string table = ProfileTable({}, 1);
  EXPECT_THAT(table, HasSubstr("0.0 %"));
  EXPECT_EQ(table.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace edgetune
