#ifndef EDGETUNE_TOOLS_SIMULATION_SIMULATED_RUN_H_
#define EDGETUNE_TOOLS_SIMULATION_SIMULATED_RUN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "simulations/report/summary.h"
#include "simulations/runner/simulation.h"
#include "tools/federation/plan_builder.h"
#include "tools/output.h"

namespace edgetune {

struct SimulatedRunOptions {
  std::string directory;  // must not be there yet
  size_t workers = 1;
  std::string title;  // before each line of progress
  // What the log says of the run beside its plan.
  std::map<std::string, std::string> settings;
  // Afterwards, of so many clients (0: all): simulations/runner/baselines.h.
  bool baselines = false;
  size_t baseline_clients = 0;
};

// What one simulation left in its directory: events.jsonl, adapter, report.
struct SimulatedRun {
  std::string directory;
  std::string trained;  // in it: the adapter's, or the model's of images
  RunSummary summary;
  Simulation::Measured measured;  // after it
  int64_t trainings = 0;
  double seconds = 0;  // that simulating took, without what was measured after
  // OK: the run finished, and what was to be measured is; else why not.
  absl::Status outcome;
};

// A run file as `edgetune simulate` takes it: two of them have one id, since
// nothing is drawn anew.
absl::StatusOr<PreparedRun> PrepareSimulation(
    const std::string& run_file, const std::vector<std::string>& sets);

// Simulates it from beginning to end, with progress on stderr. One thread; the
// caller has called CatchInterrupts. A run that ended leaves a whole directory,
// also where it failed. Errors: of what cannot begin, and then nothing is left;
// Cancelled after an interrupt, and the log as far as it came is left.
absl::StatusOr<SimulatedRun> RunSimulation(const PreparedRun& run,
                                           const SimulatedRunOptions& options,
                                           const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SIMULATED_RUN_H_
