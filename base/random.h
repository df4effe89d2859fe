#ifndef EDGETUNE_BASE_RANDOM_H_
#define EDGETUNE_BASE_RANDOM_H_

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace edgetune {

// Seeded, splittable pseudo-random numbers for simulation, shuffling and
// initialisation: the same on every machine. Not for secrets (those come from
// privacy/crypto). SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); Split derives
// an independent stream from a label, so that adding a consumer never shifts
// another's numbers. One instance belongs to one thread.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next();
  // Uniform in [0, bound), without modulo bias. bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [0, 1), 53 bits.
  double Uniform();
  // Standard normal (Box-Muller, both halves used).
  double Normal();

  // Independent of how much of this stream was drawn: depends on the seed that
  // this instance was made with, and on `label` and `index` only.
  Random Split(std::string_view label, uint64_t index = 0) const;

  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[Below(i)]);
    }
  }

 private:
  Random(uint64_t seed, uint64_t origin) : state_(seed), origin_(origin) {}

  uint64_t state_;
  uint64_t origin_ = state_;
  bool has_spare_ = false;
  double spare_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_BASE_RANDOM_H_
