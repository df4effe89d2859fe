#include "simulations/report/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>
#include <string>

#include "tests/simulations_report/rounding.h"
#include "tests/simulations_report/run_log.h"

namespace edgetune {
namespace {

using testing::kRounding;
using testing::RunLog;

// Round 1 asks for two in each of two attempts; the first is abandoned with a
// report in it. Figures below are counted by hand.
void AddRoundOfTwoAttempts(RunLog* log) {
  log->Started(1, 10);
  log->Selected(1, "a1", 11);
  log->Selected(1, "a2", 11);
  log->Reported(1, "a1", 15, 3);
  log->Add({.kind = EventKind::kRoundAbandoned,
            .t = 20,
            .round = 1,
            .attempt = 0,
            .reason = "quorum"});
  log->Started(1, 21, 1);
  for (const char* client : {"a1", "a2", "b1", "b2"}) {
    RunEvent& event = log->Of(EventKind::kSelected, 1, client, 21);
    event.attempt = 1;
  }
  log->Reported(1, "a1", 30, 4).attempt = 1;
  log->Reported(1, "b1", 31, 2).attempt = 1;
  RunEvent& dropped = log->Of(EventKind::kDropped, 1, "b2", 32);
  dropped.attempt = 1, dropped.reason = "gone";
  RunEvent& declined = log->Of(EventKind::kDeclined, 1, "b3", 33);
  declined.reason = "battery";
  log->Committed(1, 40, 2);
  log->Of(EventKind::kLate, 1, "a2", 41).attempt = 1;
}

// Two are selected, one of them twice; one declines before it is selected.
TEST(SummaryTest, TheClosingEvaluationHasAFunnelOfItsOwn) {
  RunLog log;
  const auto add = [&log](const char* client, int64_t attempt,
                          const char* outcome, const char* reason) {
    RunEvent& event = log.Of(EventKind::kEvaluation, 2, client, 50);
    event.attempt = attempt, event.outcome = outcome;
    if (*reason != 0) event.reason = reason;
  };
  add("a1", 0, "selected", "");
  add("a2", 0, "selected", "");
  add("a1", 0, "dropped", "gone");
  add("a1", 1, "selected", "");
  add("a1", 1, "reported", "");
  add("b1", 1, "declined", "needs 512.3 MB, 1,000 B are there, or 3.");
  log.Of(EventKind::kDeclined, 1, "b2", 51).reason =
      "needs 7 MB, 2 B are there, or 99.";
  const RunSummary run = log.Summary();
  EXPECT_EQ(run.evaluation.selected, 3);
  EXPECT_EQ(run.evaluation.reported, 1);
  EXPECT_EQ(run.evaluation.dropped, 1);
  EXPECT_EQ(run.evaluation.declined, 1);
  EXPECT_EQ(run.evaluation.unanswered, 1);
  EXPECT_EQ(run.funnel.selected, 0);
  const std::map<std::string, int64_t> reasons = {
      {"needs \u2026 MB, \u2026 B are there, or \u2026.", 2}};
  EXPECT_EQ(run.declined_for, reasons);
}

TEST(SummaryTest, ARoundCountsAllItsAttempts) {
  RunLog log;
  AddRoundOfTwoAttempts(&log);
  const RunSummary run = log.Summary();
  ASSERT_EQ(run.rounds.size(), 1u);
  const RoundSummary& round = run.rounds[0];
  EXPECT_EQ(round.state, RoundState::kCommitted);
  EXPECT_EQ(round.attempts, 2);
  EXPECT_EQ(round.funnel.asked, 4);
  EXPECT_EQ(round.funnel.selected, 6);
  EXPECT_EQ(round.funnel.reported, 3);
  EXPECT_EQ(round.funnel.late, 1);
  EXPECT_EQ(round.funnel.dropped, 1);
  EXPECT_EQ(round.funnel.declined, 1);
  EXPECT_EQ(round.funnel.refused, 0);
  EXPECT_EQ(round.funnel.unanswered, 1);  // a2 of the first attempt
  EXPECT_EQ(round.updates, 2);
  EXPECT_EQ(round.bytes_down, 100);
  EXPECT_EQ(round.bytes_up, 50);
  EXPECT_EQ(round.start, 10);
  EXPECT_EQ(round.end, 40);
  EXPECT_EQ(round.train_s, 9);
}

TEST(SummaryTest, AContributionIsAReportToACommittedRound) {
  RunLog log;
  AddRoundOfTwoAttempts(&log);
  const RunSummary run = log.Summary();
  ASSERT_EQ(run.clients.size(), 5u);
  const ClientSummary& a1 = run.clients[0];
  EXPECT_EQ(a1.name, "a1");
  EXPECT_EQ(a1.group, "a");
  EXPECT_EQ(a1.sessions, 2);
  EXPECT_EQ(a1.contributions, 1);
  EXPECT_EQ(a1.bytes_down, 20);
  EXPECT_EQ(a1.bytes_up, 10);
  EXPECT_EQ(run.clients[4].name, "b3");
  EXPECT_EQ(run.clients[4].sessions, 0);
  // Two of five that were seen contributed once (four were announced).
  EXPECT_NEAR(*run.participation, 2.0 / 5, kRounding);
}

TEST(SummaryTest, ClientsNeverSeenAreUnequalToo) {
  RunLog log;
  log.header.clients = 100;
  AddRoundOfTwoAttempts(&log);
  EXPECT_NEAR(*log.Summary().participation, 2.0 / 100, kRounding);
}

TEST(SummaryTest, OfImagesTheShareThatWasToldIsKnown) {
  RunLog log;
  log.Tested(0, 1);
  log.Tested(2, 9);
  log.ClientMeasured(2, "a1", 3, 4);
  log.ClientMeasured(2, "a2", 3, 6);
  EXPECT_EQ(log.Summary().rounds[1].held_out.Accuracy(), std::nullopt);
  log.ClientTold(2, "a3", 4, 1);
  log.ClientTold(2, "a4", 6, 4);
  const RunSummary run = log.Summary();
  ASSERT_EQ(run.rounds.size(), 2u);
  EXPECT_EQ(run.rounds[0].test.Accuracy(), 0.1);
  EXPECT_EQ(run.rounds[1].test.Accuracy(), 0.9);
  EXPECT_NEAR(*run.rounds[1].test_measure.Perplexity(), 2, kRounding);
  EXPECT_EQ(run.rounds[1].held_out.Accuracy(), 0.5);
  EXPECT_EQ(run.rounds[1].measure.tokens, 0);
}

TEST(SummaryTest, MeasuresOfAVersionAreSummed) {
  RunLog log;
  log.Measured(0, 2 * std::log(8.0), 2);
  log.Measured(1, std::log(2.0), 1);
  log.Measured(1, 2 * std::log(4.0), 1);
  log.Measured(2, 5, 0);
  const RunSummary run = log.Summary();
  ASSERT_EQ(run.rounds.size(), 3u);
  EXPECT_EQ(run.rounds[0].state, RoundState::kNotRun);
  EXPECT_NEAR(*run.rounds[0].measure.Perplexity(), 8, kRounding);
  EXPECT_NEAR(*run.rounds[1].measure.Perplexity(), std::exp2(2.5), kRounding);
  EXPECT_FALSE(run.rounds[2].measure.Perplexity().has_value());
  ASSERT_EQ(run.MeasuredRounds().size(), 2u);
  EXPECT_EQ(run.MeasuredRounds()[1]->round, 1);
}

TEST(SummaryTest, TrainingLossIsTheMeanOverReportsThatStateOne) {
  RunLog log;
  log.Reported(1, "a1", 1, 1).train_loss = 1;
  log.Reported(1, "a2", 1, 1).train_loss = 4;
  log.Reported(1, "a3", 1, 1);
  log.Reported(2, "a3", 1, 1);
  const RunSummary run = log.Summary();
  EXPECT_EQ(run.rounds[0].train_loss, 2.5);
  EXPECT_FALSE(run.rounds[1].train_loss.has_value());
  EXPECT_EQ(run.rounds[0].bytes_down, 30);  // not committed: of its reports
}

TEST(SummaryTest, GroupsAreOfTheNewestVersionAlone) {
  RunLog log;
  log.ClientMeasured(1, "a1", std::log(2.0), 1);
  log.ClientMeasured(1, "a9", std::log(99.0), 1);
  log.ClientMeasured(2, "a1", 3 * std::log(4.0), 3);
  log.ClientMeasured(2, "a2", std::log(16.0), 1);
  log.ClientMeasured(2, "b1", std::log(3.0), 1);
  log.ClientMeasured(1, "b1", std::log(77.0), 1);  // an old one, told late
  const RunSummary run = log.Summary();
  EXPECT_EQ(run.measured_version, 2);
  ASSERT_EQ(run.groups.size(), 2u);
  const GroupSummary& a = run.groups[0];
  EXPECT_EQ(a.clients, 3);
  EXPECT_EQ(a.spread->clients, 2);
  EXPECT_NEAR(*a.measure.Perplexity(), std::exp2(10.0 / 4), kRounding);
  EXPECT_NEAR(a.spread->mean, 10, kRounding);
  EXPECT_NEAR(*run.groups[1].measure.Perplexity(), 3, kRounding);
  EXPECT_EQ(run.spread->clients, 3);
}

TEST(SummaryTest, BaselinesOfGroupsSumToThoseOfAllUnlessTheseAreStated) {
  RunLog log;
  const auto add = [&](const char* name, std::optional<std::string> group,
                       double perplexity) {
    log.Add({.kind = EventKind::kBaseline,
             .group = group,
             .name = name,
             .nll_sum = std::log(perplexity),
             .tokens = 1});
  };
  add("local", "a", 2), add("local", "b", 8);
  add("central", "a", 2), add("central", std::nullopt, 7);
  const RunSummary run = log.Summary();
  EXPECT_NEAR(*run.baselines.at("local").Perplexity(), 4, kRounding);
  EXPECT_NEAR(*run.baselines.at("central").Perplexity(), 7, kRounding);
  EXPECT_NEAR(*run.groups[1].baselines.at("local").Perplexity(), 8, kRounding);
}

TEST(SummaryTest, UtilisationIsPutWhereTheTrainingWas) {
  RunLog log;                     // four clients; 600 s: a bin is 10 s
  log.Reported(1, "a1", 25, 10);  // [15, 25): half of two bins
  log.Reported(1, "a2", 30, 10);  // [20, 30): one bin
  log.Reported(1, "a3", 5, 20);   // begins before the run: [0, 5)
  log.Finished(120, 600);
  const RunSummary run = log.Summary();
  EXPECT_NEAR(*run.utilisation, 120.0 / (4 * 600), kRounding);
  const std::vector<double>& bins = run.utilisation_over_time;
  ASSERT_EQ(bins.size(), kTimeBins);
  EXPECT_NEAR(bins[0], 0.5 / 4, kRounding);
  EXPECT_NEAR(bins[1], 0.5 / 4, kRounding);
  EXPECT_NEAR(bins[2], 1.5 / 4, kRounding);
  const double sum = std::accumulate(bins.begin(), bins.end(), 0.0);
  EXPECT_NEAR(sum * 10 * 4, 25, 1e-9);  // of 60 sums
}

TEST(SummaryTest, ALogWithoutItsEndSpeaksOfWhatThereIs) {
  RunLog log;
  log.Started(1, 5);
  log.Reported(1, "a1", 10, 4);
  log.Reported(1, "a2", 20, 6);
  const RunSummary run = log.Summary();
  EXPECT_FALSE(run.state.has_value());
  EXPECT_EQ(run.span_s, 20);
  EXPECT_EQ(run.busy_s, 10);
  EXPECT_NEAR(*run.utilisation, 10.0 / 80, kRounding);
  EXPECT_EQ(run.rounds[0].state, RoundState::kOpen);
}

TEST(SummaryTest, ARunWithoutEventsHasNoFigures) {
  RunLog log;
  const RunSummary run = log.Summary();
  EXPECT_TRUE(run.rounds.empty());
  EXPECT_FALSE(run.utilisation.has_value());
  EXPECT_FALSE(run.participation.has_value());
  EXPECT_FALSE(run.spread.has_value());
  EXPECT_FALSE(run.measured_version.has_value());
}

TEST(SummaryTest, SumsOfHugeCountsStopAtTheLargest) {
  RunLog log;
  for (int i = 0; i < 1100; ++i) {  // 1100 * 2^53 is above 2^63
    log.Reported(1, "a1", 1, 1).bytes_down = int64_t{1} << 53;
  }
  const RunSummary run = log.Summary();
  EXPECT_EQ(run.bytes_down, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(run.clients[0].bytes_down, run.bytes_down);
}

TEST(SummaryTest, ACutLogIsToldInTheSummary) {
  RunLog log;
  log.Started(1, 5);
  log.Summary();
  std::ofstream(log.directory() + "/events.jsonl", std::ios::app)
      << "{\"event\":\"sel";
  const auto run = SummariseDirectory(log.directory());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->cut);
  EXPECT_EQ(run->source, log.directory());
}

}  // namespace
}  // namespace edgetune
