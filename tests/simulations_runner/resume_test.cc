// A simulation that is killed anywhere and repeated gives the bytes of one that
// never was. Each start is a process of its own, which ends by _exit: nothing
// is flushed, no destructor runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/status.h"
#include "tests/simulations_runner/small_simulation.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::SmallSimulation;

constexpr int kKilled = 9;

// One start of a simulation, in a child process.
class Starter {
 public:
  std::function<void(SmallSimulation&)> set_up = [](SmallSimulation&) {};

  // `events`: how many the process lives for, of what the fleet tells and of
  // training steps; 0: to its end. Whether it was killed.
  bool Start(const std::string& directory, int events, size_t workers = 1) {
    const pid_t child = fork();
    if (child == 0) {
      Live(directory, events, workers);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    const int code = WEXITSTATUS(status);
    EXPECT_TRUE(code == 0 || code == kKilled) << code;
    return code == kKilled;
  }

 private:
  void Live(const std::string& directory, int events, size_t workers) {
    SetLogLevel(LogLevel::kError);
    SmallSimulation small(6, 4);
    set_up(small);
    std::atomic<int> left{events};
    const auto count = [&left, events] {
      if (events > 0 && --left == 0) _exit(kKilled);
    };
    small.engine.on_step = [&count](int64_t) { count(); };
    small.options.on_progress = [&count](const FleetProgress&) { count(); };
    small.options.workers = workers;
    auto journal = StepJournal::Open(directory + "/steps", 1 << 30);
    ASSERT_TRUE(journal.ok()) << journal.status();
    small.options.journal = journal->get();
    small.options.repeats = true;
    small.options.log_path = directory + "/events.jsonl";
    small.Run();
    if (::testing::Test::HasFailure()) return;
    const auto adapter = small.simulation->ReadAdapter();
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    const std::string bytes(reinterpret_cast<const char*>(adapter->data()),
                            adapter->size() * sizeof(float));
    ASSERT_TRUE(WriteFileAtomically(directory + "/adapter", bytes).ok());
    ASSERT_TRUE(WriteFileAtomically(directory + "/trainings",
                                    std::to_string(small.engine.trainings))
                    .ok());
  }
};

struct Outcome {
  std::string log, adapter;
  bool operator==(const Outcome&) const = default;
};

class ResumeTest : public ::testing::Test {
 protected:
  std::string Directory(const std::string& name) {
    const std::string path = scratch_.File(name);
    EXPECT_TRUE(MakeDirectories(path).ok());
    return path;
  }
  static Outcome Of(const std::string& directory) {
    const auto log = ReadFile(directory + "/events.jsonl");
    const auto adapter = ReadFile(directory + "/adapter");
    EXPECT_TRUE(log.ok() && adapter.ok()) << log.status() << adapter.status();
    return {log.value_or(""), adapter.value_or("")};
  }

  // Killed after each `stride`-th event, then started again.
  void ExpectTheSameWhereverItIsKilled(int stride) {
    const std::string whole = Directory("whole");
    ASSERT_FALSE(starter_.Start(whole, 0));
    const Outcome wanted = Of(whole);
    int kills = 0;
    for (int events = 1;; events += stride) {
      const std::string name = Directory(std::to_string(events));
      const bool killed = starter_.Start(name, events, 1 + events % 3);
      if (!killed) break;
      ++kills;
      ASSERT_FALSE(starter_.Start(name, 0, 1 + kills % 2));
      ASSERT_EQ(Of(name), wanted) << "killed after event " << events;
      std::filesystem::remove_all(name);
    }
    EXPECT_GT(kills, 8);
  }

  const testing::ScratchDirectory scratch_;
  Starter starter_;
};

TEST_F(ResumeTest, InTheClear) { ExpectTheSameWhereverItIsKilled(2); }

TEST_F(ResumeTest, Masked) {
  starter_.set_up = [](SmallSimulation& small) {
    testing::Mask(small.test_run.plan);
  };
  ExpectTheSameWhereverItIsKilled(6);
}

TEST_F(ResumeTest, WithControlVariates) {
  starter_.set_up = [](SmallSimulation& small) {
    UseScaffold(small.test_run.plan, 6);
  };
  ExpectTheSameWhereverItIsKilled(6);
}

// What was added to the base is in the adapter alone.
TEST_F(ResumeTest, WithFrozenSlices) {
  starter_.set_up = [](SmallSimulation& small) {
    UseFrozen(small.test_run, "fedex", 3);
  };
  ExpectTheSameWhereverItIsKilled(5);
}

TEST_F(ResumeTest, WithDevicesThatDropOutAndAttemptsThatAreGivenUp) {
  starter_.set_up = [](SmallSimulation& small) {
    small.options.run.simulation.devices = "phones";
    small.test_run.plan.mutable_rounds()->set_quorum(3);
  };
  ExpectTheSameWhereverItIsKilled(6);
}

// Every start comes some events further than the one before.
TEST_F(ResumeTest, KilledAgainAndAgainItComesToItsEnd) {
  const std::string whole = Directory("whole"), often = Directory("often");
  ASSERT_FALSE(starter_.Start(whole, 0));
  int starts = 1;
  while (starter_.Start(often, 3 * starts, 2)) ASSERT_LT(++starts, 1000);
  EXPECT_GT(starts, 8);
  EXPECT_EQ(Of(often), Of(whole));
}

TEST_F(ResumeTest, WhatWasTrainedIsNotTrainedAgain) {
  const std::string directory = Directory("twice");
  ASSERT_FALSE(starter_.Start(directory, 0));
  EXPECT_EQ(*ReadFile(directory + "/trainings"), "12");
  std::filesystem::remove(directory + "/events.jsonl");
  ASSERT_FALSE(starter_.Start(directory, 0));
  EXPECT_EQ(*ReadFile(directory + "/trainings"), "0");
}

TEST_F(ResumeTest, AHalfWrittenLineOfTheLogGoes) {
  const std::string directory = Directory("cut");
  ASSERT_FALSE(starter_.Start(directory, 0));
  const Outcome wanted = Of(directory);
  for (const size_t size : {0ul, 1ul, 100ul, wanted.log.size() - 1}) {
    std::filesystem::resize_file(directory + "/events.jsonl", size);
    ASSERT_FALSE(starter_.Start(directory, 0));
    EXPECT_EQ(Of(directory), wanted) << size;
  }
}

// The log of another run, as if seed, data or program were others.
TEST_F(ResumeTest, ALogThatTheRunDoesNotRepeatEndsItAndStaysAsItIs) {
  SmallSimulation small(6, 4);
  small.Run();
  const std::string log = *ReadFile(small.options.log_path);
  const size_t at = log.find("\"train_loss\":") + 14;
  std::string other = log;
  other[at] = other[at] == '1' ? '2' : '1';
  ASSERT_TRUE(WriteFileAtomically(small.options.log_path, other).ok());
  small.options.repeats = true;
  ASSERT_TRUE(small.Make().ok());
  const auto status = small.simulation->Run(small.stop).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not repeat"));
  small.simulation.reset();
  EXPECT_EQ(*ReadFile(small.options.log_path), other);
}

TEST_F(ResumeTest, ALogThatSaysMoreThanTheRunIsNotItsOwn) {
  SmallSimulation small(6, 4);
  small.Run();
  const std::string log = *ReadFile(small.options.log_path) + "{}\n";
  ASSERT_TRUE(WriteFileAtomically(small.options.log_path, log).ok());
  small.options.repeats = true;
  ASSERT_TRUE(small.Make().ok());
  EXPECT_TRUE(
      absl::IsFailedPrecondition(small.simulation->Run(small.stop).status()));
}

}  // namespace
}  // namespace edgetune
