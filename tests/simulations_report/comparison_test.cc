#include "simulations/report/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/simulations_report/run_log.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Perplexities of versions 0, 1, ...; round r takes 150 bytes and ends at 10 r.
RunSummary RunWith(const std::vector<double>& perplexities,
                   const std::map<std::string, std::string>& settings,
                   const std::string& name = "") {
  testing::RunLog log;
  log.header.settings = settings;
  log.header.name = name;
  for (size_t i = 0; i < perplexities.size(); ++i) {
    const auto round = static_cast<int64_t>(i);
    if (i > 0) log.Started(round, 10.0 * i - 5);
    if (i > 0) log.Committed(round, 10.0 * i, 1);
    if (perplexities[i] > 0) {
      log.Measured(round, std::log(perplexities[i]), 1);
    }
  }
  RunSummary run = log.Summary();
  run.source = "here";
  return run;
}

std::vector<std::string> Labels(const Comparison& comparison) {
  std::vector<std::string> labels;
  for (const ComparedRun& run : comparison.runs) labels.push_back(run.label);
  return labels;
}

TEST(ComparisonTest, ATargetIsCountedToByRoundsBytesAndTime) {
  const std::vector<RunSummary> runs = {RunWith({100, 50, 20, 30}, {}),
                                        RunWith({100, 0, 60, 25}, {})};
  const Comparison comparison = Compare(runs, 60.0);
  ASSERT_TRUE(comparison.runs[0].reached.has_value());
  EXPECT_EQ(comparison.runs[0].reached->round, 1);
  EXPECT_EQ(comparison.runs[0].reached->bytes, 150);
  EXPECT_EQ(comparison.runs[0].reached->seconds, 10);
  EXPECT_EQ(comparison.runs[1].reached->round, 2);
  EXPECT_EQ(comparison.runs[1].reached->bytes, 300);
  EXPECT_NEAR(*comparison.runs[0].final_perplexity, 30, 1e-12);
  EXPECT_FALSE(Compare(runs, 19.0).runs[0].reached.has_value());
}

TEST(ComparisonTest, TheTargetIsTheLowestThatAllCameTo) {
  const std::vector<RunSummary> runs = {RunWith({100, 50, 20, 30}, {}),
                                        RunWith({100, 60, 25}, {})};
  const Comparison comparison = Compare(runs, std::nullopt);
  EXPECT_NEAR(*comparison.target, 25, 1e-12);
  EXPECT_EQ(comparison.runs[0].reached->round, 2);
  EXPECT_EQ(comparison.runs[1].reached->round, 2);
  EXPECT_FALSE(
      Compare({runs[0], RunWith({}, {})}, std::nullopt).target.has_value());
}

TEST(ComparisonTest, NamesThatDifferAreTheLabels) {
  EXPECT_THAT(Labels(Compare({RunWith({}, {{"a", "1"}}, "x"),
                              RunWith({}, {{"a", "2"}}, "y")},
                             std::nullopt)),
              ElementsAre("x", "y"));
}

TEST(ComparisonTest, ElseAsFewSettingsAsTellThemApart) {
  const auto labels = [](std::vector<std::map<std::string, std::string>> all) {
    std::vector<RunSummary> runs;
    for (const auto& settings : all) runs.push_back(RunWith({}, settings, "n"));
    return Labels(Compare(runs, std::nullopt));
  };
  EXPECT_THAT(labels({{{"a", "1"}, {"b", "1"}},
                      {{"a", "1"}, {"b", "2"}},
                      {{"a", "2"}, {"b", "3"}}}),
              ElementsAre("b=1", "b=2", "b=3"));
  EXPECT_THAT(labels({{{"a", "1"}, {"b", "1"}, {"c", "0"}},
                      {{"a", "1"}, {"b", "2"}, {"c", "0"}},
                      {{"a", "2"}, {"b", "1"}, {"c", "1"}}}),
              ElementsAre("a=1, b=1", "a=1, b=2", "a=2, b=1"));
  EXPECT_THAT(labels({{{"a", "1"}}, {{"a", "1"}}}),
              ElementsAre("here (1)", "here (2)"));
  EXPECT_THAT(labels({{{"a", ""}}, {}}), ElementsAre("here (1)", "here (2)"));
}

TEST(ComparisonTest, DifferingFieldsOfTheHeaderAreSettingsToo) {
  RunSummary one = RunWith({}, {{"a", "1"}}), two = one;
  EXPECT_THAT(Compare({one, two}, std::nullopt).differing, IsEmpty());
  two.header.masked = true;
  two.header.seed = 2;
  const Comparison comparison = Compare({one, two}, std::nullopt);
  EXPECT_THAT(comparison.differing, ElementsAre("masked", "seed"));
  EXPECT_THAT(Labels(comparison), ElementsAre("masked=no", "masked=yes"));
}

TEST(ComparisonTest, TheTableHasWhatIsKnown) {
  const Comparison comparison =
      Compare({RunWith({8, 4}, {{"a", "1"}}), RunWith({}, {{"a", "=2"}})}, 8.0);
  EXPECT_EQ(ComparisonCsv(comparison),
            "label,final_perplexity,target_perplexity,rounds_to_target,"
            "bytes_to_target,seconds_to_target,settings\r\n"
            "a=1,4,8,0,0,0,a=1\r\n"
            "a==2,,8,,,,a==2\r\n");
}

}  // namespace
}  // namespace edgetune
