#ifndef EDGETUNE_TRAINING_ADAM_W_H_
#define EDGETUNE_TRAINING_ADAM_W_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace edgetune {

// Scales `gradient` so that its L2 norm is at most `limit` (0: leaves it),
// and returns the norm it had. As torch.nn.utils.clip_grad_norm_.
double ClipByGlobalNorm(std::span<float> gradient, double limit);

// AdamW (Loshchilov, Hutter, 2019) over one flat float32 vector, with beta
// 0.9 and 0.999, epsilon 1e-8, as torch.optim.AdamW. Life: made with the size,
// then Step as often as wanted; moments start at zero, or where another one's
// were (Restore). One thread.
class AdamW {
 public:
  AdamW(size_t size, double weight_decay)
      : weight_decay_(weight_decay), first_(size), second_(size) {}

  // Both spans have the size this was made with.
  void Step(std::span<float> values, std::span<const float> gradient,
            double lr);

  // What it needs to go on elsewhere, beside the number of steps.
  std::span<const float> first() const { return first_; }
  std::span<const float> second() const { return second_; }
  // Goes on after `steps` steps with their moments, of this one's size.
  void Restore(int64_t steps, std::vector<float> first,
               std::vector<float> second);

 private:
  const double weight_decay_;
  int64_t steps_ = 0;
  std::vector<float> first_, second_;  // moments
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_ADAM_W_H_
