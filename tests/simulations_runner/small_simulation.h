#ifndef EDGETUNE_TESTS_SIMULATIONS_RUNNER_SMALL_SIMULATION_H_
#define EDGETUNE_TESTS_SIMULATIONS_RUNNER_SMALL_SIMULATION_H_

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "simulations/report/summary.h"
#include "simulations/runner/simulation.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// A simulation over the tiny model with the fixture's engine: 60 chat lines
// about two topics, dealt to `clients`. Change plan, run file or options, then
// Run.
class SmallSimulation {
 public:
  SmallSimulation(uint32_t clients, uint32_t cohort)
      : test_run(MakeTestRun(scratch.path(), cohort)) {
    std::ofstream data(scratch.File("data.jsonl"));
    for (int i = 0; i < 60; ++i) {
      data << fmt::format(
          R"({{"messages":[{{"role":"user","content":"Say {0}"}},)"
          R"({{"role":"assistant","content":"{1} {0}"}}],"topic":"{1}"}})"
          "\n",
          i, i % 2 == 0 ? "even" : "odd");
    }
    v1::DocumentHeader& header = *test_run.plan.mutable_header();
    header.set_issued_ms(absl::ToUnixMillis(SimulationStart()));
    header.set_expires_ms(
        absl::ToUnixMillis(SimulationStart() + absl::Hours(24 * 30)));
    options.run.train.seed = 7;  // the plan's
    options.run.simulation.clients = clients;
    options.run.simulation.data = scratch.File("data.jsonl");
    options.run.simulation.partition = "dirichlet";
    options.run.simulation.field = "topic";
    options.log_path = scratch.File("events.jsonl");
    options.engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
      return &engine;
    };
  }

  absl::Status Make() {
    options.plan = test_run.plan;
    options.plan_payload = test_run.plan.SerializeAsString();
    options.run_id = std::string(32, 'r');
    options.initial_blob = test_run.adapter_blob;
    options.model = *ModelFile::Open(test_run.model_path);
    options.model_files = {test_run.model_path};
    auto made = Simulation::Make(options);
    if (made.ok()) simulation = *std::move(made);
    return made.status();
  }
  // The run must finish.
  void Run() {
    const absl::Status made = Make();
    ASSERT_TRUE(made.ok()) << made;
    const auto status = simulation->Run(stop);
    ASSERT_TRUE(status.ok()) << status.status();
    ASSERT_EQ(status->state(), v1::RunStatus::FINISHED)
        << status->ShortDebugString();
  }
  RunSummary Summary() const {
    auto summary = SummariseDirectory(scratch.path());
    EXPECT_TRUE(summary.ok()) << summary.status();
    return *std::move(summary);
  }

  const ScratchDirectory scratch;
  TestRun test_run;
  FakeEngine engine;
  Simulation::Options options;
  StopToken stop{false};
  std::unique_ptr<Simulation> simulation;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_RUNNER_SMALL_SIMULATION_H_
