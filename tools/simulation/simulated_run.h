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
  std::string directory;      // must not be there yet, unless `resume`
  bool resume = false;        // go on with what is there (RunDirectory)
  uint64_t resume_space = 0;  // of the journal, in bytes
  size_t workers = 1;
  // Of several ranks; null: the plan's, of this process.
  Engine* engine = nullptr;
  const StopToken* stop = nullptr;  // null: InterruptFlag()
  uint64_t memory = 0;  // that this process may have, in bytes; 0: any
  std::string title;    // before each line of progress
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
  // That simulating took, without what was measured after; 0: it was finished
  // before.
  double seconds = 0;
  // OK: the run finished, and what was to be measured is; else why not.
  absl::Status outcome;
};

// A run file as `edgetune simulate` takes it: two of them have one id, since
// nothing is drawn anew.
absl::StatusOr<PreparedRun> PrepareSimulation(
    const std::string& run_file, const std::vector<std::string>& sets);

// Of a rank that only computes: examples are not looked for.
absl::StatusOr<PreparedRun> PrepareRank(const std::string& run_file,
                                        const std::vector<std::string>& sets);
// For a process in which devices compute: large buffers that are freed stay.
void KeepFreedMemory();

// Simulates it from beginning to end, with progress on stderr. One thread; the
// caller has called CatchInterrupts. A run that ended leaves a whole directory,
// also where it failed; one that had ended before is read again. Errors: of
// what cannot begin, and then nothing is left; Cancelled after an interrupt: it
// can be resumed, as after a kill, and the log as far as it came can be read.
absl::StatusOr<SimulatedRun> RunSimulation(const PreparedRun& run,
                                           const SimulatedRunOptions& options,
                                           const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SIMULATED_RUN_H_
