#include "aggregation/exact_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace edgetune {
namespace {

// Values of a block are still in the nearest cache when it is looked at again.
constexpr size_t kBlock = 2048;

// An update comes from memory: so many coordinates ahead of their use, and so
// many at a time, it is asked for. The processor's own guess waits a quarter
// longer.
constexpr size_t kAhead = 512;
constexpr size_t kPiece = 64;
constexpr size_t kLine = 64 / sizeof(float);  // of a cache

// x + kRound, |x| <= kLargestRounded, has a unit of 1 in its last place: the
// processor rounds x to the nearest integer, and the sum's bits less those of
// kRound are that integer. This way any set of instructions converts vectors.
constexpr double kRound = 0x1.8p52;
constexpr double kLargestRounded = 0x1p51;

enum class Sign { kAdd, kSubtract };

struct Block {
  std::span<const float> values;
  double factor;
  uint64_t* sums;  // as many
};

// Adds or subtracts; the largest |value|, NaN if one is. Sums are right where
// that times the factor is at most kLargestRounded; whatever was added to them,
// subtracting takes it away.
template <Sign kSign>
[[gnu::always_inline]] inline float CombineBlock(const Block& block) {
  const float* const values = block.values.data();
  const size_t n = block.values.size();
  uint64_t* const __restrict sums = block.sums;
  // Without their sign floats are ordered as their bits are, NaN above all.
  int32_t largest = 0;
  const auto combine = [&](size_t i) {
    largest = std::max(largest, std::bit_cast<int32_t>(values[i]) & 0x7fffffff);
    const uint64_t term =
        std::bit_cast<uint64_t>(double{values[i]} * block.factor + kRound) -
        std::bit_cast<uint64_t>(kRound);
    sums[i] += kSign == Sign::kAdd ? term : -term;
  };
  size_t done = 0;
  for (; done + kPiece <= n; done += kPiece) {
    for (size_t i = 0; i < kPiece; i += kLine) {
      __builtin_prefetch(values + done + kAhead + i);
    }
    for (size_t i = done; i < done + kPiece; ++i) combine(i);
  }
  for (size_t i = done; i < n; ++i) combine(i);
  return std::bit_cast<float>(largest);
}

#if defined(__x86_64__)
// Twice as fast. Asked at run time, not by target_clones: its resolver runs
// before ThreadSanitizer is ready, and crashes.
template <Sign kSign>
[[gnu::target("avx2")]] float CombineAvx2(const Block& block) {
  return CombineBlock<kSign>(block);
}
#endif

template <Sign kSign>
float Combine(const Block& block) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return CombineAvx2<kSign>(block);
#endif
  return CombineBlock<kSign>(block);
}

// The same integers, of any size.
template <Sign kSign>
void CombineOneByOne(const Block& block) {
  for (size_t i = 0; i < block.values.size(); ++i) {
    const auto term = static_cast<uint64_t>(
        std::llrint(double{block.values[i]} * block.factor));
    block.sums[i] += kSign == Sign::kAdd ? term : -term;
  }
}

}  // namespace

bool ExactSum::Add(std::span<const float> values, double factor, double bound) {
  for (size_t done = 0; done < values.size(); done += kBlock) {
    const Block block = {
        values.subspan(done, std::min(kBlock, values.size() - done)), factor,
        sums_.data() + done};
    const double largest = Combine<Sign::kAdd>(block);
    if (largest <= bound && largest * std::fabs(factor) <= kLargestRounded) {
      continue;
    }
    Combine<Sign::kSubtract>(block);
    if (!(largest <= bound)) {
      CombineOneByOne<Sign::kSubtract>(
          {values.first(done), factor, sums_.data()});
      return false;
    }
    CombineOneByOne<Sign::kAdd>(block);
  }
  return true;
}

void ExactSum::Merge(const ExactSum& other) {
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
}

}  // namespace edgetune
