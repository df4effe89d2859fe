#ifndef EDGETUNE_TRAINING_SGD_H_
#define EDGETUNE_TRAINING_SGD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "training/optimizer.h"

namespace edgetune {

// Stochastic gradient descent with momentum, as torch.optim.SGD without
// dampening and Nesterov: of values w and gradient g
//   g' = g + decay w    (coupled: the gradient of decay / 2 ||w||^2)
//   b  = momentum b + g'
//   w  = w - lr b
// Without momentum it has no moments. One thread.
class Sgd final : public Optimizer {
 public:
  Sgd(size_t size, double momentum, double weight_decay);

  void Step(std::span<float> values, std::span<const float> gradient,
            double lr) override;
  std::vector<std::span<const float>> moments() const override;
  void Restore(int64_t steps, std::vector<std::vector<float>> moments) override;

 private:
  const size_t size_;
  const float momentum_, weight_decay_;
  std::vector<float> buffer_;  // b; empty without momentum
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_SGD_H_
