#ifndef EDGETUNE_TOOLS_SIMULATION_RANKED_RUN_H_
#define EDGETUNE_TOOLS_SIMULATION_RANKED_RUN_H_

#include <cstddef>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/output.h"
#include "tools/simulation/simulated_run.h"

namespace edgetune {

// `edgetune simulate` as one of the processes that mpirun started
// (docs/decisions/0021): rank 0 simulates, the others compute for it and say
// nothing. One thread; the caller has called CatchInterrupts.
struct RankedRunOptions {
  // What this rank simulates: on rank 0 as PrepareSimulation, else PrepareRank.
  std::function<absl::StatusOr<PreparedRun>(int rank)> prepare;
  size_t workers = 0;  // of this rank; 0: one for each core that is its own
  // Simulates on rank 0: with its workers, stop and engine of all ranks.
  std::function<absl::Status(const PreparedRun&, SimulatedRunOptions)> run;
};

// What `run` gives; why this process cannot join the job or the ranks do not
// fit together. Where a rank is lost: tells which one and aborts the job.
absl::Status RunRanked(const RankedRunOptions& options, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_RANKED_RUN_H_
