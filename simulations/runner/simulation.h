#ifndef EDGETUNE_SIMULATIONS_RUNNER_SIMULATION_H_
#define EDGETUNE_SIMULATIONS_RUNNER_SIMULATION_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/parameters.h"
#include "config/run_file.h"
#include "simulations/adversary/adversaries.h"
#include "simulations/fleet/fleet.h"
#include "simulations/report/event_log.h"
#include "simulations/runner/attack_success.h"
#include "simulations/runner/baselines.h"
#include "simulations/runner/central_test.h"
#include "simulations/runner/fleet_data.h"
#include "simulations/runner/fleet_memory.h"
#include "simulations/runner/measuring.h"
#include "simulations/runner/population_devices.h"
#include "simulations/runner/run_logger.h"

namespace edgetune {

// When every simulated run begins: the first hour of a Monday, UTC. Its plan is
// signed then.
absl::Time SimulationStart();

// A run file's simulation, from its data to its log. Life: Make, Run once, then
// the rest. One thread.
class Simulation {
 public:
  struct Options {
    RunFile run;
    // What follows from it (tools/federation/plan_builder), made for
    // SimulationStart.
    v1::TaskPlan plan;
    std::string plan_payload, run_id, initial_blob;
    std::shared_ptr<const ModelFile> model;
    std::vector<std::string> model_files;
    // Where `train.engine` is opened; not asked with the null trainer.
    std::function<absl::StatusOr<Engine*>(std::string_view)> engine;
    // Computes in place of the engine that would be opened; null: that itself.
    Engine* other_engine = nullptr;
    size_t workers = 1;
    // What this process may have in memory, in bytes; 0: any. Blobs beyond it,
    // and those that nobody reads any more, go to files in `spill_directory`;
    // empty: they stay.
    uint64_t memory = 0;
    std::string spill_directory;
    std::string log_path;  // of events.jsonl; empty: none is written
    // The run was begun before: its log, if it is there, is repeated.
    bool repeats = false;
    // Keeps what the devices compute, but for the null trainer, which is as
    // fast as reading it; null: nothing is kept.
    StepJournal* journal = nullptr;
    // What else the log says of the run: name and value.
    std::map<std::string, std::string> settings;
    // The model that run.simulation.teacher names, resolved; empty: none.
    std::string teacher;
    // Of the teacher, before the run: positions done, and of how many.
    std::function<void(int64_t, int64_t)> on_teacher;
    std::function<void(const FleetProgress&)> on_progress;
    // After the run: baselines (baselines.h), of so many clients (0: all).
    bool baselines = false;
    size_t baseline_clients = 0;
    std::function<void(const MeasuringProgress&)> on_measuring;
  };
  // What was measured after the run, where it was asked for.
  struct Measured {
    std::optional<BaselineReport> baselines;
    std::optional<AttackSuccess> attack;  // of a backdoor
    absl::Status status;  // why something of it is missing; Cancelled: stopped
  };

  // What can be said before examples are read: kConfig, kData.
  static absl::Status Check(const RunFile& run);
  // kConfig, kData, kModel.
  static absl::StatusOr<std::unique_ptr<Simulation>> Make(Options options);

  // As Fleet::Run. A run that finished is followed by what is to be measured,
  // whose failure is told by measured() alone, and the log is whole either way.
  absl::StatusOr<v1::RunStatus> Run(const StopToken& stop);

  const FleetData& data() const { return *data_; }
  // With a memory ceiling: what was predicted.
  const std::optional<FleetMemory>& memory() const { return memory_; }
  size_t adversaries() const { return adversaries_->count(); }
  // After Run.
  absl::StatusOr<ParameterVector> ReadAdapter() const {
    return fleet_->ReadAdapter();
  }
  const Measured& measured() const { return measured_; }
  const FleetProgress& progress() const { return logger_->progress(); }

 private:
  explicit Simulation(Options options) : options_(std::move(options)) {}
  absl::Status MakeClients();
  absl::Status MakeAdversaries();
  absl::Status MakeLog();
  absl::StatusOr<std::unique_ptr<EventLog>> OpenLog(const RunHeader& header);
  // Bytes of blobs that may stay in memory.
  absl::StatusOr<uint64_t> FitMemory();
  absl::Status MakeFleet();
  absl::Status AskFleetsTeacher();
  // Where the data has a test set.
  absl::Status MakeTest();
  absl::StatusOr<Adapter> MakeAdapter(ParameterVector values) const;
  absl::StatusOr<std::unique_ptr<Measuring>> MakeMeasuring(
      BaseModels* models, const StopToken& stop,
      std::function<void(const MeasuringProgress&)> on_progress) const;
  absl::Status Measure(const StopToken& stop);
  void LogBaselines();

  const Options options_;
  std::unique_ptr<FleetData> data_;
  std::unique_ptr<PopulationDevices> devices_;
  std::unique_ptr<Adversaries> adversaries_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<RunLogger> logger_;
  std::unique_ptr<CentralTest> test_;  // null: there is none
  const StopToken* stop_ = nullptr;    // of Run
  std::unique_ptr<Engine> null_engine_;
  std::unique_ptr<Fleet> fleet_;
  std::optional<FleetMemory> memory_;
  std::unique_ptr<BaseModels> test_models_;
  Measured measured_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_SIMULATION_H_
