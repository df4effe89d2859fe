#ifndef EDGETUNE_TRAINING_MEMORY_PLAN_H_
#define EDGETUNE_TRAINING_MEMORY_PLAN_H_

// Fits training with the fused engine to a number of bytes. Pure functions,
// thread-safe.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "training/memory_prediction.h"

namespace edgetune {

struct MemoryPlan {
  MemoryChoice choice;
  MemoryPrediction prediction;
};

// No example is cut to fewer tokens than this.
inline constexpr int64_t kShortestCut = 64;

// The fastest choice that is predicted to stay within `budget` bytes (0: no
// limit), with `micro_batch` examples a pass at most: fewer of them,
// activations computed again, or both, whichever costs less time
// (RelativeTime). Where nothing fits, one example a pass, computed again, and
// cut, by 64 tokens at a time. Weights stay in the model's file: a copy of them
// is a few per cent faster and takes the most. ResourceExhausted (kFailed): not
// even that fits; says what is needed at least, and the hint what to change.
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryWork& work,
                                      int64_t micro_batch, uint64_t budget);

// "2 examples a pass, activations computed again, examples cut to 192 tokens;
// 431.2 MB predicted".
std::string MemoryPlanText(const MemoryPlan& plan);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_MEMORY_PLAN_H_
