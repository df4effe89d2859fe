#ifndef EDGETUNE_TRAINING_ADAM_W_H_
#define EDGETUNE_TRAINING_ADAM_W_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "training/optimizer.h"

namespace edgetune {

// Scales `gradient` so that its L2 norm is at most `limit` (0: leaves it),
// and returns the norm it had. As torch.nn.utils.clip_grad_norm_.
double ClipByGlobalNorm(std::span<float> gradient, double limit);

// AdamW (Loshchilov, Hutter, 2019) over one flat float32 vector, with beta
// 0.9 and 0.999, epsilon 1e-8 and decoupled weight decay, as torch.optim.AdamW.
// Its moments are the first and the second one. One thread.
class AdamW final : public Optimizer {
 public:
  AdamW(size_t size, double weight_decay)
      : weight_decay_(weight_decay), first_(size), second_(size) {}

  void Step(std::span<float> values, std::span<const float> gradient,
            double lr) override;
  std::vector<std::span<const float>> moments() const override {
    return {first_, second_};
  }
  void Restore(int64_t steps, std::vector<std::vector<float>> moments) override;

 private:
  const double weight_decay_;
  int64_t steps_ = 0;
  std::vector<float> first_, second_;  // moments
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_ADAM_W_H_
