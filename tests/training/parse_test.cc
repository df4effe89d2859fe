#include "training/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace edgetune {
namespace {

using ::testing::HasSubstr;

TEST(ParseTest, EveryNameIsReadBack) {
  for (const auto p : {Precision::kAuto, Precision::kFp32, Precision::kBf16,
                       Precision::kInt8}) {
    EXPECT_EQ(*ParsePrecision(NameOf(p)), p);
  }
  for (const auto s : {Schedule::kConstant, Schedule::kCosine}) {
    EXPECT_EQ(*ParseSchedule(NameOf(s)), s);
  }
}

TEST(ParseTest, AnUnknownWordIsNamedWithTheKnownOnes) {
  const auto schedule = ParseSchedule("linear");
  EXPECT_EQ(schedule.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(schedule.status().message()),
              HasSubstr("\"linear\"; known: \"constant\", \"cosine\""));
}

}  // namespace
}  // namespace edgetune
