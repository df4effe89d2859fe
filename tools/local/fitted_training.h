#ifndef EDGETUNE_TOOLS_LOCAL_FITTED_TRAINING_H_
#define EDGETUNE_TOOLS_LOCAL_FITTED_TRAINING_H_

// A run's training on this machine, fitted to its memory budget, as `train` and
// `check` begin. Stateless.

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "client/memory_budget.h"
#include "tools/federation/plan_builder.h"
#include "training/engine_loader.h"

namespace edgetune {

struct FittedTraining {
  LocalData data;  // with examples as long as the plan leaves them
  Engine* engine = nullptr;
  MemoryPlan memory;  // without a prediction where nobody can predict
};

// Reads the data, opens the engine, fits. kData, or as FitToMemory. Whatever
// else the process is to hold while it trains should be there already.
absl::StatusOr<FittedTraining> FitTraining(const PreparedRun& run,
                                           const ClientFile::Data& files,
                                           int64_t threads);

// The plan's training of one round with what was fitted.
TrainConfig FittedConfig(const PreparedRun& run, const FittedTraining& fitted,
                         uint32_t round, const ClientFile::Data& files);
absl::StatusOr<std::unique_ptr<Trainer>> MakeFittedTrainer(
    const PreparedRun& run, const FittedTraining& fitted, int64_t threads);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_FITTED_TRAINING_H_
