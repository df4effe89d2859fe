#ifndef EDGETUNE_SIMULATIONS_RUNNER_NULL_ENGINE_H_
#define EDGETUNE_SIMULATIONS_RUNNER_NULL_ENGINE_H_

#include <memory>

#include "training/engine_loader.h"

namespace edgetune {

// An engine that learns nothing, for the protocol at a scale at which training
// would be all there is: its update is pseudo-random, of the coordinates that
// the plan trains, each below 2^-10, and follows from the segment's seed; the
// loss is that of no model. Thread-safe.
class NullEngine final : public Engine {
 public:
  bool UsesBf16(Precision) const override { return false; }
  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override;
  // Unimplemented.
  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_NULL_ENGINE_H_
