#ifndef EDGETUNE_CLIENT_MEMORY_BUDGET_H_
#define EDGETUNE_CLIENT_MEMORY_BUDGET_H_

// How a checked plan is trained within the memory that plan and device allow.
// The client, `edgetune train` and `edgetune check` all decide it here.
// Thread-safe.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/local_data.h"
#include "config/daemon_files.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/memory_plan.h"

namespace edgetune {

// In bytes: the smaller of the plan's and the device's; 0: neither has one.
uint64_t MemoryBudgetOf(const v1::TaskPlan& plan,
                        const ClientFile::Train& device);

// One client's training, all rounds of it, before there is a trainer.
struct LocalTraining {
  const v1::TaskPlan& plan;
  const ModelFile& model;
  const LocalData& data;
  std::string data_name;
  std::string engine;   // by name, with the plan's wish in it (EngineOf)
  bool bf16 = false;    // Engine::UsesBf16 of the plan's precision
  int64_t threads = 0;  // 0: all cores
  int64_t rank = 0;     // that the device trains (RankOf); 0: the plan's
  // Of the process before it has the engine; nullopt: of this one, now.
  std::optional<uint64_t> resident = {};
};

// What of it decides over memory.
MemoryWork MemoryWorkOf(const LocalTraining& training);

// The fastest way within `budget` (0: as the plan says). ResourceExhausted
// (kFailed): it does not fit. FailedPrecondition (kFailed): a budget for
// another engine than the fused one, whose memory nobody can predict.
absl::StatusOr<MemoryPlan> FitToMemory(const LocalTraining& training,
                                       uint64_t budget);

// The plan with the examples that `choice` leaves.
v1::TaskPlan WithLength(v1::TaskPlan plan, const MemoryChoice& choice);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_MEMORY_BUDGET_H_
