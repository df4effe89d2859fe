#ifndef EDGETUNE_TRAINING_OPTIMIZER_H_
#define EDGETUNE_TRAINING_OPTIMIZER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "training/trainer.h"

namespace edgetune {

// What turns gradients into steps, over one flat float32 vector. Life: made for
// a size, then Step as often as wanted; moments start at zero, or where another
// one's were (Restore). One thread.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Both spans have the size this was made for.
  virtual void Step(std::span<float> values, std::span<const float> gradient,
                    double lr) = 0;

  // What it needs to go on elsewhere, beside the number of steps: vectors of
  // its size, equally many at all times.
  virtual std::vector<std::span<const float>> moments() const = 0;
  // Goes on after `steps` steps with the moments of another one like this.
  virtual void Restore(int64_t steps,
                       std::vector<std::vector<float>> moments) = 0;
};

// The optimiser of config.optimizer.
std::unique_ptr<Optimizer> MakeOptimizer(const TrainConfig& config,
                                         size_t size);
// How many moments it has.
size_t MomentsOf(const TrainConfig& config);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_OPTIMIZER_H_
