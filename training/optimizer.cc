#include "training/optimizer.h"

#include "training/adam_w.h"
#include "training/sgd.h"

namespace edgetune {

std::unique_ptr<Optimizer> MakeOptimizer(const TrainConfig& config,
                                         size_t size) {
  if (config.optimizer == OptimizerKind::kSgd) {
    return std::make_unique<Sgd>(size, config.momentum, config.weight_decay);
  }
  return std::make_unique<AdamW>(size, config.weight_decay);
}

size_t MomentsOf(const TrainConfig& config) {
  return MakeOptimizer(config, 0)->moments().size();
}

}  // namespace edgetune
