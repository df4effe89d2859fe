#ifndef EDGETUNE_TOOLS_SIMULATION_SWEEP_RUNS_H_
#define EDGETUNE_TOOLS_SIMULATION_SWEEP_RUNS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/output.h"
#include "tools/simulation/sweep.h"

namespace edgetune {

struct SweepOptions {
  std::string run_file;
  std::vector<std::string> sets;  // under those of the sweep
  std::vector<SweepKey> keys;     // not empty
  std::string directory;          // must not be there yet, unless `resume`
  bool resume = false;            // go on with each run, as SimulatedRunOptions
  uint64_t resume_space = 0;      // of each run
  size_t workers = 1;
  uint64_t memory = 0;  // as SimulatedRunOptions
};

// Simulates every point of a sweep, one after the other, each in
// DIRECTORY/NAME, then compares those that finished in DIRECTORY/comparison and
// on stdout. All run files and plans are checked before the first run begins.
// One thread; the caller has called CatchInterrupts.
//
// Errors: of a point that cannot be prepared (nothing is left then); Aborted
// (kFailed) when a run failed, which is told when it does and keeps none of the
// others; Cancelled after an interrupt: what finished is compared.
absl::Status RunSweep(const SweepOptions& options, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SWEEP_RUNS_H_
