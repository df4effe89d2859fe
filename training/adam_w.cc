#include "training/adam_w.h"

#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "models/step_profile.h"

namespace edgetune {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

// In interleaved parts, since additions to one sum wait for each other: of all
// parameters of a network that would take longer than a step of SGD.
double SumOfSquares(std::span<const float> values) {
  constexpr size_t kParts = 16;
  std::array<double, kParts> sums = {};
  const size_t whole = values.size() / kParts * kParts;
  for (size_t i = 0; i < whole; i += kParts) {
    for (size_t j = 0; j < kParts; ++j) {
      const double value = values[i + j];
      sums[j] += value * value;
    }
  }
  for (size_t i = whole; i < values.size(); ++i) {
    sums[0] += static_cast<double>(values[i]) * values[i];
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

double ClipByGlobalNorm(std::span<float> gradient, double limit) {
  const ProfileScope scope(StepPart::kOptimiser);
  const double norm = std::sqrt(SumOfSquares(gradient));
  if (limit <= 0) return norm;
  const auto scale = static_cast<float>(limit / (norm + 1e-6));
  if (scale >= 1) return norm;
  for (float& g : gradient) g *= scale;
  return norm;
}

void AdamW::Step(std::span<float> values, std::span<const float> gradient,
                 double lr) {
  EDGETUNE_CHECK(values.size() == first_.size() &&
                 gradient.size() == first_.size());
  const ProfileScope scope(StepPart::kOptimiser);
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const auto decay = static_cast<float>(1 - lr * weight_decay_);
  const auto rate = static_cast<float>(lr / (1 - std::pow(kBeta1, t)));
  const auto root = static_cast<float>(std::sqrt(1 - std::pow(kBeta2, t)));
  for (size_t i = 0; i < values.size(); ++i) {
    const float g = gradient[i];
    first_[i] += static_cast<float>(1 - kBeta1) * (g - first_[i]);
    second_[i] = static_cast<float>(kBeta2) * second_[i] +
                 static_cast<float>(1 - kBeta2) * g * g;
    const float scale =
        std::sqrt(second_[i]) / root + static_cast<float>(kEpsilon);
    values[i] = values[i] * decay - rate * (first_[i] / scale);
  }
}

void AdamW::Restore(int64_t steps, std::vector<std::vector<float>> moments) {
  EDGETUNE_CHECK(moments.size() == 2 && moments[0].size() == first_.size() &&
                 moments[1].size() == second_.size());
  steps_ = steps;
  first_ = std::move(moments[0]);
  second_ = std::move(moments[1]);
}

}  // namespace edgetune
