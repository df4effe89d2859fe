// A run file simulated to its log, with the engine that learns nothing.

#include "simulations/runner/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/atomic_file.h"
#include "base/factors.h"
#include "base/process_memory.h"
#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "simulations/runner/null_engine.h"
#include "tests/client/fixture.h"
#include "tests/testing/sanitized.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

class SimulationTest : public ::testing::Test {
 protected:
  SimulationTest() : run_(testing::MakeTestRun(scratch_.path(), 4)) {
    v1::DocumentHeader& header = *run_.plan.mutable_header();
    header.set_issued_ms(absl::ToUnixMillis(SimulationStart()));
    header.set_expires_ms(
        absl::ToUnixMillis(SimulationStart() + absl::Hours(24 * 30)));
    std::ofstream data(scratch_.File("data.jsonl"));
    for (int i = 0; i < 60; ++i) {
      data << R"({"prompt": "say", "completion": "number )" << i << "\"}\n";
    }
    file_.simulation.data = scratch_.File("data.jsonl");
    file_.simulation.clients = 6;
    file_.simulation.trainer = "null";
  }

  absl::StatusOr<std::unique_ptr<Simulation>> Make(const std::string& log) {
    Simulation::Options options;
    options.run = file_;
    options.plan = run_.plan;
    options.plan_payload = run_.plan.SerializeAsString();
    options.run_id = Sha256Bytes(options.plan_payload);
    options.initial_blob = run_.adapter_blob;
    options.model = *ModelFile::Open(run_.model_path);
    options.model_files = {run_.model_path};
    options.workers = workers_;
    options.on_progress = on_progress_;
    options.memory = memory_;
    options.spill_directory = scratch_.path();
    options.log_path = log.empty() ? "" : scratch_.File(log);
    return Simulation::Make(std::move(options));
  }
  // Its adapter, after it finished.
  ParameterVector Run(const std::string& log) {
    auto simulation = Make(log);
    EXPECT_TRUE(simulation.ok()) << simulation.status();
    if (!simulation.ok()) return {};
    const StopToken stop{false};
    const auto status = (*simulation)->Run(stop);
    EXPECT_TRUE(status.ok()) << status.status();
    if (!status.ok()) return {};
    EXPECT_EQ(status->state(), v1::RunStatus::FINISHED);
    return *(*simulation)->ReadAdapter();
  }
  // How many lines of each kind.
  std::map<EventKind, int> Count(const std::string& log) {
    std::map<EventKind, int> counts;
    const auto reader = EventReader::Open(scratch_.File(log));
    EXPECT_TRUE(reader.ok()) << reader.status();
    while (true) {
      const auto event = (*reader)->Next();
      EXPECT_TRUE(event.ok()) << event.status();
      if (!event.ok() || !event->has_value()) break;
      ++counts[(*event)->kind];
    }
    EXPECT_TRUE((*reader)->finished());
    return counts;
  }

  const testing::ScratchDirectory scratch_;
  testing::TestRun run_;
  RunFile file_;
  size_t workers_ = 1;
  uint64_t memory_ = 0;
  std::function<void(const FleetProgress&)> on_progress_;
};

TEST_F(SimulationTest, TheLogTellsTheWholeRun) {
  Run("a.jsonl");
  auto counts = Count("a.jsonl");
  EXPECT_EQ(counts[EventKind::kRoundStarted], 3);
  EXPECT_EQ(counts[EventKind::kSelected], 12);
  EXPECT_EQ(counts[EventKind::kReported], 12);
  EXPECT_EQ(counts[EventKind::kRoundCommitted], 3);
  EXPECT_EQ(counts[EventKind::kMeasure], 4);
  EXPECT_EQ(counts[EventKind::kClientMeasure], 16);
  EXPECT_EQ(counts[EventKind::kRunFinished], 1);
}

TEST_F(SimulationTest, WorkersChangeNeitherLogNorAdapter) {
  file_.simulation.devices = "mixed";
  run_.plan.mutable_rounds()->set_quorum(2);
  const ParameterVector one = Run("one.jsonl");
  workers_ = 3;
  EXPECT_EQ(Run("three.jsonl"), one);
  EXPECT_EQ(*ReadFile(scratch_.File("three.jsonl")),
            *ReadFile(scratch_.File("one.jsonl")));
}

TEST_F(SimulationTest, UnderMaskingTheLogKnowsNoClientsLoss) {
  testing::Mask(run_.plan);
  file_.simulation.clients = 4;
  Run("masked.jsonl");
  auto counts = Count("masked.jsonl");
  EXPECT_EQ(counts[EventKind::kReported], 12);
  EXPECT_EQ(counts[EventKind::kClientMeasure], 0);
  EXPECT_EQ(counts[EventKind::kMeasure], 4);
  EXPECT_THAT(*ReadFile(scratch_.File("masked.jsonl")),
              ::testing::Not(HasSubstr("train_loss")));
}

TEST_F(SimulationTest, AnotherSeedIsAnotherRun) {
  const ParameterVector first = Run("first.jsonl");
  run_.plan.mutable_train()->set_seed(8);
  EXPECT_NE(Run("second.jsonl"), first);
}

// 40 sessions a round: what a session left behind, 1 kB, would be 5 MB.
TEST_F(SimulationTest, MemoryStaysFlatOverTwoHundredRounds) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep what was freed";
  run_.plan.mutable_rounds()->set_count(200);
  run_.plan.mutable_rounds()->set_cohort(40);
  run_.plan.mutable_rounds()->set_quorum(40);
  file_.simulation.clients = 40;
  uint64_t early = 0, late = 0;
  on_progress_ = [&](const FleetProgress& at) {
    if (at.round == 70 && early == 0) early = ResidentBytes();
    if (at.round == 199 && late == 0) late = ResidentBytes();
  };
  Run("long.jsonl");
  ASSERT_GT(early, 0u);
  ASSERT_GT(late, 0u);
  EXPECT_LT(late, early + 2'500'000);
}

TEST_F(SimulationTest, ACeilingChangesNeitherLogNorAdapter) {
  const ParameterVector any = Run("any.jsonl");
  memory_ = 4'000'000'000;
  EXPECT_EQ(Run("most.jsonl"), any);
  EXPECT_EQ(*ReadFile(scratch_.File("most.jsonl")),
            *ReadFile(scratch_.File("any.jsonl")));
}

TEST_F(SimulationTest, ACeilingThatIsTooLowIsRefusedWithFigures) {
  memory_ = 5'000'000;
  const absl::Status status = Make("refused.jsonl").status();
  EXPECT_EQ(ExitCodeOf(status), 4) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--memory is 5.0 MB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("6 devices"));
  EXPECT_FALSE(HintOf(status).empty());
}

TEST_F(SimulationTest, WhatCannotBeSimulatedIsSaidBeforeAnythingIsWritten) {
  const auto refused = [&](const std::string& part) {
    const absl::Status status = Make("refused.jsonl").status();
    EXPECT_EQ(ExitCodeOf(status), 4) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  };
  file_.simulation.clients = 3;
  refused("a round wants 4 clients");
  file_.simulation.partition = "dirichlet";
  refused("simulation.field is empty");
  file_.simulation.partition = "iid";
  file_.simulation.clients = 6;
  file_.simulation.devices = "laptops";
  refused("laptops");
  file_.simulation.devices = "uniform";
  file_.train.memory_budget = 1'000'000'000;
  refused("train.memory_budget");
  file_.simulation.data.clear();
  refused("no data");
  EXPECT_FALSE(std::filesystem::exists(scratch_.File("refused.jsonl")));
}

TEST(NullEngineTest, UpdatesFollowFromTheSeedAndAreSmall) {
  const testing::ScratchDirectory scratch;
  const testing::TestRun run = testing::MakeTestRun(scratch.path(), 1);
  NullEngine engine;
  const auto trainer =
      *engine.MakeTrainer(*ModelFile::Open(run.model_path), {});
  Adapter adapter;
  adapter.layout = *ParameterLayout::Make({{"w", {33}}});
  const StopToken stop{false};
  struct Nothing final : ExampleSource {
    int64_t size() const override { return 0; }
    const LabelledTokens& Get(int64_t) const override { std::abort(); }
  } const nothing;
  const auto train = [&](uint64_t seed) {
    TrainConfig config;
    config.seed = seed;
    return trainer->Train(adapter, nothing, config, nullptr, stop, {})->delta;
  };
  const ParameterVector first = train(1);
  ASSERT_EQ(first.size(), 33u);
  EXPECT_EQ(train(1), first);
  EXPECT_NE(train(2), first);
  for (const float value : first) EXPECT_LT(std::abs(value), 1.0f / 1024);
}

}  // namespace
}  // namespace edgetune
