#include "training/sgd.h"

#include <utility>

#include "base/status.h"
#include "models/step_profile.h"

namespace edgetune {

Sgd::Sgd(size_t size, double momentum, double weight_decay)
    : size_(size),
      momentum_(static_cast<float>(momentum)),
      weight_decay_(static_cast<float>(weight_decay)),
      buffer_(momentum_ > 0 ? size : 0) {}

void Sgd::Step(std::span<float> values, std::span<const float> gradient,
               double lr) {
  EDGETUNE_CHECK(values.size() == size_ && gradient.size() == size_);
  const ProfileScope scope(StepPart::kOptimiser);
  const auto rate = static_cast<float>(lr);
  for (size_t i = 0; i < size_; ++i) {
    float g = gradient[i] + weight_decay_ * values[i];
    if (!buffer_.empty()) g = buffer_[i] = momentum_ * buffer_[i] + g;
    values[i] -= rate * g;
  }
}

std::vector<std::span<const float>> Sgd::moments() const {
  if (momentum_ == 0) return {};
  return {buffer_};
}

void Sgd::Restore(int64_t steps, std::vector<std::vector<float>> moments) {
  EDGETUNE_CHECK(moments.size() == this->moments().size());
  for (std::vector<float>& moment : moments) {
    EDGETUNE_CHECK(moment.size() == size_);
    buffer_ = std::move(moment);
  }
}

}  // namespace edgetune
