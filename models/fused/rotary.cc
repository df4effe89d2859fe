#include "models/fused/rotary.h"

#include <cmath>

namespace edgetune::fused {

RotaryTable::RotaryTable(const ModelConfig& config)
    : half_(static_cast<size_t>(config.head_dim) / 2) {
  for (size_t i = 0; i < half_; ++i) {
    const double exponent =
        -static_cast<double>(i) / static_cast<double>(half_);
    double frequency = std::pow(config.rope_theta, exponent);
    if (!config.rope_divisors.empty()) frequency /= config.rope_divisors[i];
    frequencies_.push_back(static_cast<float>(frequency));
  }
}

void RotaryTable::Fill(std::span<const size_t> lengths, size_t first) {
  size_t tokens = 0;
  for (const size_t length : lengths) tokens += length;
  cosine_.Reserve(tokens * half_);
  sine_.Reserve(tokens * half_);
  size_t at = 0;
  for (const size_t length : lengths) {
    for (size_t position = 0; position < length; ++position) {
      for (size_t i = 0; i < half_; ++i, ++at) {
        const float angle =
            static_cast<float>(first + position) * frequencies_[i];
        cosine_.data()[at] = std::cos(angle);
        sine_.data()[at] = std::sin(angle);
      }
    }
  }
}

}  // namespace edgetune::fused
