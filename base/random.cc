#include "base/random.h"

#include <cmath>

namespace edgetune {
namespace {

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

constexpr uint64_t kGamma = 0x9E3779B97F4A7C15ull;

}  // namespace

uint64_t Random::Next() {
  state_ += kGamma;
  return Mix(state_);
}

uint64_t Random::Below(uint64_t bound) {
  // Rejects the incomplete last interval.
  const uint64_t limit = -bound % bound;
  while (true) {
    const uint64_t x = Next();
    if (x >= limit) return x % bound;
  }
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

double Random::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
  const double angle = 2 * M_PI * Uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

Random Random::Split(std::string_view label, uint64_t index) const {
  uint64_t h = origin_;
  for (unsigned char c : label) h = Mix(h + kGamma + c);
  h = Mix(h + kGamma * (label.size() + 1));
  h = Mix(h ^ Mix(index + kGamma));
  return Random(h, h);
}

}  // namespace edgetune
