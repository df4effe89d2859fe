#include "server/round.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Phase = Round::Phase;
using Kind = Round::Event::Kind;
using Do = Round::Action::Kind;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

Round::Options Options() {
  Round::Options options;
  options.cohort = 2;
  options.asked = 3;
  options.quorum = 2;
  options.select_timeout = absl::Seconds(60);
  options.deadline = absl::Seconds(100);
  options.reconnect_grace = absl::Seconds(30);
  return options;
}

Round::Event Pool(std::vector<std::string> idle, size_t busy = 0) {
  Round::Event event{Kind::kPool};
  event.idle = std::move(idle);
  event.busy = busy;
  return event;
}

std::vector<Do> Kinds(const std::vector<Round::Action>& actions) {
  std::vector<Do> kinds;
  for (const auto& action : actions) kinds.push_back(action.kind);
  return kinds;
}

// Training with a, b and c open.
Round Training() {
  Round round(Options(), kStart);
  round.Handle(Pool({"a", "b", "c"}), kStart);
  return round;
}

// Training with only `c` open and `reported` good reports.
Round LastOpen(int reported) {
  Round round = Training();
  round.Handle({Kind::kReport, "a", reported >= 1 ? "" : "bad"}, kStart);
  round.Handle({Kind::kReport, "b", reported >= 2 ? "" : "bad"}, kStart);
  return round;
}

Round Finishing() {
  Round round = LastOpen(2);
  round.Handle({Kind::kReport, "c"}, kStart);
  return round;
}

Round In(Phase phase) {
  switch (phase) {
    case Phase::kSelecting:
      return Round(Options(), kStart);
    case Phase::kTraining:
      return Training();
    case Phase::kFinishing:
      return Finishing();
    case Phase::kCommitted: {
      Round round = Finishing();
      round.Handle({Kind::kStepMade}, kStart);
      return round;
    }
    case Phase::kAbandoned: {
      Round round = Training();
      round.Handle({Kind::kStop, "", "stop"}, kStart);
      return round;
    }
  }
  return Round(Options(), kStart);
}

// The table of round.h: the phase after one event that decides nothing by
// itself (two clients still open, nothing overdue).
struct Cell {
  Kind kind;
  Phase after[5];
};
constexpr Phase S = Phase::kSelecting, T = Phase::kTraining,
                F = Phase::kFinishing, C = Phase::kCommitted,
                A = Phase::kAbandoned;
constexpr Cell kTable[] = {
    {Kind::kPool, {S, T, F, C, A}},       {Kind::kTimer, {S, T, F, C, A}},
    {Kind::kReport, {S, T, F, C, A}},     {Kind::kDecline, {S, T, F, C, A}},
    {Kind::kUp, {S, T, F, C, A}},         {Kind::kDown, {S, T, F, C, A}},
    {Kind::kDeny, {S, T, F, C, A}},       {Kind::kStepMade, {S, T, C, C, A}},
    {Kind::kStepFailed, {S, T, A, C, A}}, {Kind::kStop, {A, A, A, C, A}},
};

TEST(RoundTest, EveryCellOfTheTableLeadsWhereItSays) {
  for (const Cell& cell : kTable) {
    for (Phase from : {S, T, F, C, A}) {
      Round round = In(from);
      ASSERT_EQ(round.phase(), from);
      round.Handle({cell.kind, "a"}, kStart);
      EXPECT_EQ(round.phase(), cell.after[static_cast<int>(from)])
          << "event " << static_cast<int>(cell.kind) << " in "
          << PhaseName(from);
    }
  }
}

TEST(RoundTest, AnEndedRoundAnswersNothing) {
  for (const Cell& cell : kTable) {
    for (Phase from : {C, A}) {
      Round round = In(from);
      EXPECT_THAT(round.Handle({cell.kind, "a"}, kStart), IsEmpty());
      EXPECT_EQ(round.NextTimer(), absl::InfiniteFuture());
    }
  }
}

TEST(RoundTest, TrainingIsLeftByWhateverClosesTheLastClient) {
  for (Kind kind : {Kind::kReport, Kind::kDecline, Kind::kDeny}) {
    Round enough = LastOpen(2);
    enough.Handle({kind, "c", kind == Kind::kReport ? "bad" : ""}, kStart);
    EXPECT_EQ(enough.phase(), F);
    Round few = LastOpen(1);
    few.Handle({kind, "c", kind == Kind::kReport ? "bad" : ""}, kStart);
    EXPECT_EQ(few.phase(), A);
  }
}

TEST(RoundTest, SelectingTakesAtOnceWhenAllAskedAreThere) {
  Round round(Options(), kStart);
  const auto actions = round.Handle(Pool({"d", "a", "c", "b"}), kStart);
  ASSERT_THAT(Kinds(actions), ElementsAre(Do::kAssign));
  EXPECT_THAT(actions[0].devices, ElementsAre("d", "a", "c"));
  EXPECT_EQ(round.deadline(), kStart + absl::Seconds(100));
}

TEST(RoundTest, SelectingWaitsTenSecondsAfterTheCohortIsThere) {
  Round round(Options(), kStart);
  EXPECT_THAT(round.Handle(Pool({"a", "b"}), kStart), IsEmpty());
  EXPECT_TRUE(round.IsSettling());
  EXPECT_EQ(round.NextTimer(), kStart + absl::Seconds(10));
  const auto actions =
      round.Handle(Pool({"a", "b"}), kStart + absl::Seconds(10));
  ASSERT_THAT(Kinds(actions), ElementsAre(Do::kAssign));
  EXPECT_EQ(actions[0].devices.size(), 2u);
}

TEST(RoundTest, ADeviceThatLeavesStartsTheTenSecondsAgain) {
  Round round(Options(), kStart);
  round.Handle(Pool({"a", "b"}), kStart);
  round.Handle(Pool({"a"}), kStart + absl::Seconds(5));
  EXPECT_FALSE(round.IsSettling());
  round.Handle(Pool({"a", "b"}), kStart + absl::Seconds(9));
  EXPECT_EQ(round.NextTimer(), kStart + absl::Seconds(19));
}

TEST(RoundTest, AtTheTimeoutAQuorumIsEnough) {
  Round::Options options = Options();
  options.cohort = options.asked = 4;
  Round round(options, kStart);
  round.Handle(Pool({"a", "b"}), kStart);
  EXPECT_EQ(round.phase(), S);
  round.Handle(Pool({"a", "b"}), kStart + absl::Seconds(60));
  EXPECT_EQ(round.phase(), T);
}

TEST(RoundTest, AtTheTimeoutFewerThanAQuorumAbandon) {
  Round round(Options(), kStart);
  const auto actions = round.Handle(Pool({"a"}), kStart + absl::Seconds(60));
  ASSERT_THAT(Kinds(actions), ElementsAre(Do::kAbandon));
  EXPECT_THAT(actions[0].detail, ::testing::HasSubstr("1 of 2 clients came"));
}

TEST(RoundTest, DevicesBusyElsewhereAreWaitedFor) {
  Round round(Options(), kStart);
  const absl::Time late = kStart + absl::Seconds(61);
  round.Handle(Pool({}, 2), late);
  EXPECT_EQ(round.phase(), S);
  EXPECT_EQ(round.NextTimer(), absl::InfiniteFuture());
  round.Handle(Pool({"a", "b"}), late + absl::Seconds(1));
  EXPECT_EQ(round.phase(), T);
}

// They say hello an instant after the outcome of their other round.
TEST(RoundTest, DevicesThatJustFinishedElsewhereAreWaitedForTenSeconds) {
  for (const bool come : {true, false}) {
    Round round(Options(), kStart);
    const absl::Time late = kStart + absl::Seconds(61);
    round.Handle(Pool({}, 2), late);
    const absl::Time finished = late + absl::Seconds(30);
    EXPECT_THAT(round.Handle(Pool({}), finished), IsEmpty());
    EXPECT_EQ(round.NextTimer(), finished + absl::Seconds(10));
    EXPECT_THAT(round.Handle(Pool({}), finished + absl::Seconds(9)), IsEmpty());
    if (come) {
      round.Handle(Pool({"a", "b"}), finished + absl::Seconds(10));
    } else {
      round.Handle(Pool({"a"}), finished + absl::Seconds(10));
    }
    EXPECT_EQ(round.phase(), come ? T : A);
  }
}

TEST(RoundTest, DropsClientThatMissesDeadline) {
  Round round = LastOpen(2);
  const auto actions =
      round.Handle({Kind::kTimer}, kStart + absl::Seconds(100));
  ASSERT_THAT(Kinds(actions), ElementsAre(Do::kLose, Do::kFinish));
  EXPECT_EQ(actions[0].device, "c");
}

TEST(RoundTest, LosesAClientOnlyAfterTheGrace) {
  Round round = LastOpen(2);
  round.Handle({Kind::kDown, "c"}, kStart);
  EXPECT_EQ(round.NextTimer(), kStart + absl::Seconds(30));
  EXPECT_THAT(round.Handle({Kind::kTimer}, kStart + absl::Seconds(29)),
              IsEmpty());
  EXPECT_THAT(Kinds(round.Handle({Kind::kTimer}, kStart + absl::Seconds(30))),
              ElementsAre(Do::kLose, Do::kFinish));
}

TEST(RoundTest, AReturnedClientIsSentItsAssignmentAndKept) {
  Round round = Training();
  round.Handle({Kind::kDown, "c"}, kStart);
  EXPECT_THAT(Kinds(round.Handle({Kind::kUp, "c"}, kStart + absl::Seconds(9))),
              ElementsAre(Do::kRepeat));
  EXPECT_THAT(round.Handle({Kind::kTimer}, kStart + absl::Seconds(31)),
              IsEmpty());
}

TEST(RoundTest, IgnoresStrangersAndClientsThatAreDone) {
  Round round = LastOpen(2);
  for (Kind kind : {Kind::kReport, Kind::kDecline, Kind::kDeny, Kind::kUp}) {
    EXPECT_THAT(round.Handle({kind, "a"}, kStart), IsEmpty());
    EXPECT_THAT(round.Handle({kind, "stranger"}, kStart), IsEmpty());
  }
}

TEST(RoundTest, StopCancelsOpenClientsOnly) {
  Round round = LastOpen(2);
  const auto actions = round.Handle({Kind::kStop, "", "stopped"}, kStart);
  ASSERT_THAT(Kinds(actions), ElementsAre(Do::kCancel, Do::kAbandon));
  EXPECT_EQ(actions[0].device, "c");
}

TEST(RoundTest, ResumedRoundGivesOpenClientsTheGrace) {
  Round round = Round::Resume(Options(),
                              {{"a", Round::ClientState::kReported},
                               {"b", Round::ClientState::kReported},
                               {"c", Round::ClientState::kOpen}},
                              kStart + absl::Seconds(100), kStart);
  EXPECT_TRUE(round.IsOpen("c"));
  EXPECT_EQ(round.NextTimer(), kStart + absl::Seconds(30));
  round.Handle({Kind::kTimer}, kStart + absl::Seconds(30));
  EXPECT_EQ(round.phase(), F);
}

}  // namespace
}  // namespace edgetune
