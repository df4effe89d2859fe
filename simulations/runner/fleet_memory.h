#ifndef EDGETUNE_SIMULATIONS_RUNNER_FLEET_MEMORY_H_
#define EDGETUNE_SIMULATIONS_RUNNER_FLEET_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "simulations/runner/fleet_data.h"
#include "training/memory_prediction.h"

namespace edgetune {

// What a simulation has in memory at its highest, predicted before it begins.
// Plain values and pure functions.

struct FleetMemoryQuestion {
  const v1::TaskPlan& plan;
  const ModelFile& model;
  const FleetData& data;
  size_t workers = 1;
  bool trains = true;     // not with the null trainer
  bool bf16 = false;      // of the engine (Engine::UsesBf16)
  uint64_t base = 0;      // of the files of the base model
  uint64_t resident = 0;  // of the process with the examples, before the fleet
};

struct FleetMemory {
  std::vector<MemoryPart> parts;  // that must be in memory
  uint64_t fixed = 0;             // their sum
  // Of blobs, such as updates on their way: as many as are at work at once must
  // be in memory, others may be spilled.
  uint64_t least_blobs = 0, all_blobs = 0;
};

// What the fused engine takes is predicted as for a device
// (client/memory_budget.h), of the client with the longest example.
// FailedPrecondition (kConfig): another engine, whose memory nobody can
// predict.
absl::StatusOr<FleetMemory> PredictFleetMemory(
    const FleetMemoryQuestion& question);

// Bytes of blobs that `ceiling` leaves in memory. ResourceExhausted (kConfig):
// it cannot hold the simulation; says what takes how much, and the hint what to
// change.
absl::StatusOr<uint64_t> BlobsWithin(const FleetMemory& memory,
                                     uint64_t ceiling);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_FLEET_MEMORY_H_
