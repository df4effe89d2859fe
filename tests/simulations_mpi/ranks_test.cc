// Ranks that are lost, late, different or told to stop: always an end, and one
// line that says which.

#include "simulations/mpi/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <string>

#include "absl/time/clock.h"
#include "base/status.h"
#include "tests/simulations_fleet/small_fleet.h"
#include "tests/simulations_mpi/job.h"

namespace edgetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Job;
using testing::SmallFleet;

class RanksTest : public ::testing::Test {
 protected:
  RanksTest()
      : run_(testing::MakeTestRun(scratch_.path(), 4)), job_(run_, 3, 1) {
    adapter_.resize(run_.adapter_blob.size() / sizeof(float));
  }

  // One training on a rank, of as many steps.
  absl::StatusOr<Answer> Train(int rank, int64_t steps = 1) {
    Call call;
    call.train = true;
    call.examples = {{{1, 2, 3}, {0, 1, 1}}};
    call.config.steps = steps;
    return job_.ranks->Do(rank, std::move(call), adapter_, stop_);
  }
  void Start() {
    job_.Start();
    const absl::Status gathered = job_.ranks->Gather(job_.hellos[0]);
    ASSERT_TRUE(gathered.ok()) << gathered;
  }
  void ExpectLost(const absl::Status& status, const std::string& why) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("rank 2 on memory is lost"), HasSubstr(why)));
    EXPECT_EQ(ExitCodeOf(status), 1);
    EXPECT_NE(HintOf(status), "");
    EXPECT_TRUE(job_.ranks->stop());
  }

  const testing::ScratchDirectory scratch_;
  testing::TestRun run_;
  Job job_;
  ParameterVector adapter_;
  StopToken stop_{false};
};

TEST_F(RanksTest, WorkGoesThereAndItsAnswerComesBack) {
  Start();
  const auto answer = Train(1);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->status.ok()) << answer->status;
  EXPECT_EQ(answer->training.steps, 1);
  EXPECT_EQ(job_.engines[1].trainings, 1);
  EXPECT_EQ(job_.engines[2].trainings, 0);
}

TEST_F(RanksTest, WorkThatThrowsIsAnsweredToo) {
  job_.engines[1].on_step = [](int64_t) { throw std::bad_alloc(); };
  Start();
  const auto answer = Train(1);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(answer->status.message()), HasSubstr("bad_alloc"));
}

TEST_F(RanksTest, AStopIsPassedOnAndTheRestComesBack) {
  job_.engines[1].on_step = [this](int64_t step) {
    if (step == 2) stop_ = true;
    absl::SleepFor(absl::Milliseconds(1));
  };
  Start();
  const auto answer = Train(1, 1'000'000);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->training.stopped);
}

TEST_F(RanksTest, ARankThatIsGoneIsNamedAndItsWorkEnds) {
  job_.options.silence = job_.servers[2].silence = absl::Seconds(2);
  job_.engines[2].on_step = [this](int64_t) { job_.memory.Kill(2); };
  Start();
  ExpectLost(Train(2).status(), "no sign of life for");
  // Nothing more is sent to it.
  ExpectLost(Train(2).status(), "no sign of life for");
  EXPECT_TRUE(Train(1).ok());
  ExpectLost(job_.ranks->End(), "no sign of life for");
  // Nobody leaves in order: who is lost would be waited for.
  const auto served = job_.Served();
  EXPECT_THAT(std::string(served[1].message()), HasSubstr("rank 0 is gone"));
  EXPECT_EQ(job_.memory.left(), 0);
}

TEST_F(RanksTest, AFleetEndsAndItsLogBlamesNoDevice) {
  SmallFleet fleet(4);
  Job job(fleet.run, 3, 1);
  job.options.silence = absl::Seconds(2);
  for (const int rank : {1, 2}) {
    job.servers[rank].silence = absl::Seconds(2);
    job.engines[rank].on_step = [&job, rank](int64_t) {
      job.memory.Kill(rank);
    };
  }
  job.Start();
  ASSERT_TRUE(job.ranks->Gather(job.hellos[0]).ok());
  // None of the trainings here: the first one is lost, whoever has it.
  RankEngine engine(&fleet.engine, &*job.ranks, 0);
  fleet.other_engine = &engine;
  fleet.workers = engine.workers();
  fleet.stop = &job.ranks->stop();
  EXPECT_TRUE(absl::IsCancelled(fleet.Run().status()));
  EXPECT_EQ(fleet.diary.counts[SessionNews::Kind::kDeclined], 0);
  EXPECT_FALSE(job.ranks->End().ok());
}

TEST_F(RanksTest, WhoDoesNotReactToAnInterruptIsNamedSoon) {
  job_.options.reaction = absl::Seconds(1);
  job_.servers[2].last_word = absl::Milliseconds(100);
  Start();
  job_.memory.Kill(2);
  job_.interrupted = true;
  while (!job_.ranks->stop()) absl::SleepFor(absl::Milliseconds(1));
  ExpectLost(job_.ranks->End(), "did not react");
}

TEST_F(RanksTest, AnInterruptWithAllThereIsNoLoss) {
  job_.options.reaction = absl::Seconds(10);
  Start();
  job_.interrupted = true;
  while (!job_.ranks->stop()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(job_.ranks->End().ok());
  for (const absl::Status& served : job_.Served()) {
    EXPECT_TRUE(served.ok()) << served;
  }
  // Whoever left in order would wait for a job that is being ended.
  EXPECT_EQ(job_.memory.left(), 0);
}

// A step that takes long is no silence.
TEST_F(RanksTest, ARankThatWorksForLongIsThere) {
  job_.options.silence = absl::Seconds(2);
  job_.engines[2].on_step = [](int64_t) { absl::SleepFor(absl::Seconds(3)); };
  Start();
  EXPECT_TRUE(Train(2).ok());
  EXPECT_TRUE(job_.ranks->End().ok());
}

TEST_F(RanksTest, ARankThatNeverBeginsIsNamed) {
  job_.options.first_word = absl::Seconds(2);
  job_.memory.Kill(2);
  job_.servers[2].first_word = absl::Milliseconds(200);
  job_.Start();
  const absl::Status gathered = job_.ranks->Gather(job_.hellos[0]);
  EXPECT_THAT(std::string(gathered.message()),
              HasSubstr("rank 2 is lost: it has not begun"));
}

TEST_F(RanksTest, ARankThatDiffersIsNamedAndAllLeaveInOrder) {
  job_.hellos[2].plan = "another";
  job_.Start();
  const absl::Status gathered = job_.ranks->Gather(job_.hellos[0]);
  EXPECT_THAT(std::string(gathered.message()),
              HasSubstr("rank 2 on memory reads another run file"));
  EXPECT_TRUE(job_.ranks->End().ok());
  for (const absl::Status& served : job_.Served()) EXPECT_TRUE(served.ok());
  EXPECT_EQ(job_.memory.left(), 3);
}

TEST_F(RanksTest, AnInterruptEndsTheWaitForTheFirstWord) {
  job_.memory.Kill(2);
  job_.options.first_word = absl::Milliseconds(500);
  job_.servers[2].first_word = absl::Milliseconds(10);
  job_.interrupted = true;
  job_.Start();
  EXPECT_TRUE(absl::IsCancelled(job_.ranks->Gather(job_.hellos[0])));
}

TEST_F(RanksTest, WhatTheLibrarySaysIsTold) {
  Start();
  job_.memory.Break("MPI_ERR_OTHER: known error not in list");
  while (!job_.ranks->stop()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(std::string(job_.ranks->End().message()),
              HasSubstr("MPI_ERR_OTHER"));
}

TEST_F(RanksTest, ALetterThatIsNoneLosesItsSender) {
  Start();
  job_.servers[2].post->Send(0, "\x04nonsense");
  while (!job_.ranks->stop()) absl::SleepFor(absl::Milliseconds(1));
  job_.servers[0].post->Send(2, MakeLetter(LetterKind::kEnd));
  ExpectLost(job_.ranks->End(), "its answer is none");
}

// --- the other side

TEST_F(RanksTest, ARankWithoutRank0Ends) {
  job_.options.silence = absl::Seconds(2);
  job_.servers[1].silence = absl::Seconds(2);
  job_.servers[2].last_word = absl::Milliseconds(100);
  Start();
  EXPECT_TRUE(Train(1).ok());
  job_.memory.Kill(0);
  job_.interrupted = true;
  for (const absl::Status& served : job_.Served()) {
    EXPECT_EQ(served.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(served.message()), HasSubstr("rank 0 is gone"));
  }
}

TEST_F(RanksTest, NonsenseFromRank0EndsARank) {
  Start();
  Post& rank0 = *job_.servers[0].post;
  rank0.Send(1, FormatAnswer({}));
  Call call;
  call.adapter = {1.0f};
  rank0.Send(2, FormatCall(call));
  const auto served = job_.Served();
  EXPECT_EQ(served[0].code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(served[1].message()),
              HasSubstr("an adapter of other size"));
  job_.memory.Kill(1);
  job_.memory.Kill(2);
  job_.interrupted = true;
}

}  // namespace
}  // namespace edgetune
