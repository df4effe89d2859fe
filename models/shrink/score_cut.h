#ifndef EDGETUNE_MODELS_SHRINK_SCORE_CUT_H_
#define EDGETUNE_MODELS_SHRINK_SCORE_CUT_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/statusor.h"

namespace edgetune {

// A score of at least 0 as a number that is ordered alike (IEEE 754).
inline uint32_t ScoreBits(float weight, float norm) {
  return std::bit_cast<uint32_t>(std::fabs(weight) * norm);
}

// Below the cut lie the smallest of a sequence of scores, exactly as many as
// were asked for.
struct ScoreCut {
  uint32_t bits = 0;  // smaller scores lie below;
  uint64_t ties = 0;  // of equal ones those at places of the sequence before it

  bool IsBelow(uint32_t score, uint64_t place) const {
    return score < bits || (score == bits && place < ties);
  }
};

// Calls its argument with every score of the sequence in order, some at a time;
// the same each time.
using ScoreScan = std::function<absl::Status(
    const std::function<void(std::span<const uint32_t>)>&)>;

// The cut below which `count` scores lie, by scanning three times, with 512 KiB
// of counters and none of the scores in memory. `count` is at most their
// number. Errors of `scan`.
absl::StatusOr<ScoreCut> CutBelow(uint64_t count, const ScoreScan& scan);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SCORE_CUT_H_
