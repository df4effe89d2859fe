#include "tools/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "protos/run_status.h"
#include "tools/federation/run_report.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

std::string Golden(const std::string& name) {
  auto text = ReadFile(EDGETUNE_SOURCE_DIR "/tests/tools/golden/" + name);
  return text.ok() ? *text : text.status().ToString();
}

TEST(OutputTest, SuccessEnvelopeIsTheGoldenOne) {
  EXPECT_EQ(SuccessEnvelope({{"perplexity", 2.5}, {"tokens", 7}}),
            Golden("success.json"));
}

TEST(OutputTest, ErrorEnvelopeIsTheGoldenOne) {
  EXPECT_EQ(
      ErrorEnvelope(Annotate(absl::NotFoundError("no model x: \"quoted\""),
                             ErrorKind::kModel, "fetch it")),
      Golden("error.json"));
}

TEST(OutputTest, BytesThatAreNoUtf8DoNotEndTheProgram) {
  EXPECT_THAT(ErrorEnvelope(absl::NotFoundError("\xff")),
              HasSubstr("\xef\xbf\xbd"));
}

TEST(OutputTest, TableAlignsItsColumns) {
  EXPECT_EQ(FormatTable({{"a", "n"}, {"caf\xc3\xa9", "12"}, {"b", "3"}}, {1}),
            "a      n\ncaf\xc3\xa9  12\nb      3\n");
}

TEST(OutputTest, NoCellOfATableBeginsALineOrCommandsATerminal) {
  EXPECT_EQ(FormatTable({{"name", "a\nSHA-256  0"}, {"\x1b[2J", "b"}}),
            "name     a\\x0aSHA-256  0\n\\x1b[2J  b\n");
}

TEST(OutputTest, SideBySideCommandsNoTerminal) {
  EXPECT_EQ(SideBySide("base", "a\x1b[2J b", "tuned", "\xff", 43),
            "base                 | tuned\n"
            "a\\x1b[2J b           | \\xff\n");
}

TEST(OutputTest, SideBySideWrapsAtWords) {
  EXPECT_EQ(SideBySide("base", "one two three four five six", "tuned", "x", 43),
            "base                 | tuned\n"
            "one two three four   | x\n"
            "five six             | \n");
}

TEST(ProgressTest, BarShowsItsShare) {
  EXPECT_EQ(Bar(0, 4), "[....]");
  EXPECT_EQ(Bar(0.5, 4), "[##..]");
  EXPECT_EQ(Bar(7, 4), "[####]");
}

TEST(ProgressTest, TimeLeftFollowsFromTheShareDone) {
  EXPECT_DOUBLE_EQ(SecondsLeft(0.25, 10), 30);
  EXPECT_LT(SecondsLeft(0, 10), 0);
  EXPECT_EQ(SecondsLeft(1, 10), 0);
}

TEST(RunReportTest, NotEnoughClientsHasItsOwnExitCode) {
  v1::RunStatus status;
  status.set_state(v1::RunStatus::FAILED);
  status.set_detail("not enough clients: 1 of 4");
  EXPECT_EQ(ExitCodeOf(OutcomeOf(status)), 3);
  status.set_detail("the update was refused");
  EXPECT_EQ(ExitCodeOf(OutcomeOf(status)), 1);
  status.set_state(v1::RunStatus::STOPPED);
  EXPECT_EQ(ExitCodeOf(OutcomeOf(status)), 1);
  status.set_state(v1::RunStatus::FINISHED);
  EXPECT_EQ(ExitCodeOf(OutcomeOf(status)), 0);
}

TEST(RunReportTest, PerplexityIsThatOfTheSums) {
  v1::RunStatus status;
  v1::Measure* measure = status.add_measures();
  measure->set_nll_sum(6.931471805599453);  // 10 ln 2
  measure->set_tokens(10);
  status.add_measures();  // nothing measured yet
  ASSERT_EQ(PerplexitiesOf(status).size(), 1u);
  EXPECT_NEAR(PerplexitiesOf(status)[0], 2, 1e-12);
  EXPECT_EQ(RunJson(status)["state"], "unknown");
}

// A masked run that waits for its operator.
v1::RunStatus PausedRun() {
  v1::RunStatus status;
  status.set_run_id(std::string(32, '\xab'));
  status.set_state(v1::RunStatus::PAUSED_NEEDS_OVERRIDE);
  status.set_detail("NOT_ENOUGH");
  v1::SecAggSpec* secagg = status.mutable_plan()->mutable_secagg();
  secagg->set_enabled(true);
  secagg->set_n_min(4);
  status.add_receipts(std::string(32, '\x01'));
  status.add_receipts(std::string(32, '\x02'));
  v1::BlameScore* score = status.add_scores();
  score->set_device_id("desk");
  score->set_points(2);
  return status;
}

TEST(RunReportTest, APausedRunSaysWhatToDoAndHasNotEnded) {
  const v1::RunStatus status = PausedRun();
  EXPECT_TRUE(IsPaused(status));
  EXPECT_FALSE(HasEnded(status));
  const std::string text = RunText(status);
  EXPECT_THAT(text, HasSubstr("paused: NOT_ENOUGH\n"));
  EXPECT_THAT(text, HasSubstr("edgetune run override abababababab --kit"));
  EXPECT_THAT(text, HasSubstr("edgetune run stop abababababab --kit"));
  EXPECT_THAT(RunTable({status}), HasSubstr("paused"));
}

TEST(RunReportTest, AMaskedRunShowsItsReceiptsAndBlame) {
  const v1::RunStatus status = PausedRun();
  const std::string text = RunText(status);
  EXPECT_THAT(text, HasSubstr("over 3 or more devices"));
  EXPECT_THAT(text, HasSubstr("2 receipts;"));
  EXPECT_THAT(text, HasSubstr("desk was named in 2 disputes"));
  const nlohmann::json json = RunJson(status);
  EXPECT_EQ(json["masked"], true);
  EXPECT_EQ(json["receipts"].size(), 2u);
  EXPECT_THAT(json["receipts"][1].get<std::string>(),
              ::testing::StartsWith("0202"));
  EXPECT_EQ(json["blame"][0]["device_id"], "desk");
  EXPECT_EQ(json["blame"][0]["points"], 2);
}

TEST(RunReportTest, AClearRunSaysThatUpdatesAreSeen) {
  v1::RunStatus status;
  EXPECT_THAT(RunText(status), HasSubstr("sees each update"));
  EXPECT_EQ(RunJson(status)["masked"], false);
  EXPECT_EQ(RunJson(status)["receipts"].size(), 0u);
}

TEST(RunReportTest, RunIdsAreWholeBytesOfHex) {
  EXPECT_EQ(*ParseRunId("0badcafe"), "\x0b\xad\xca\xfe");
  for (const char* bad : {"", "0badca", "0badcaf", "0badcafg", "run"}) {
    EXPECT_EQ(KindOf(ParseRunId(bad).status()), ErrorKind::kUsage) << bad;
  }
  EXPECT_FALSE(ParseRunId(std::string(66, 'a')).ok());
}

}  // namespace
}  // namespace edgetune
