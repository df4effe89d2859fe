#ifndef EDGETUNE_TRAINING_DISTILLATION_TEACHER_WALK_H_
#define EDGETUNE_TRAINING_DISTILLATION_TEACHER_WALK_H_

// What every engine's teacher does alike: what it refuses, and how it goes over
// examples. Stateless; on the calling thread.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "models/io/model_file.h"
#include "training/distillation/teacher.h"
#include "training/local_training.h"

namespace edgetune {

// A student's vocabulary as a teacher's tokens (MapTokens, token_map.h; empty:
// the same): InvalidArgument where it does not fit the two.
absl::Status CheckTeacherTokens(const ModelConfig& teacher,
                                const ModelConfig& student,
                                std::span<const int32_t> tokens);

// Whether all examples fit the teacher's context, which may be smaller than the
// student's. InvalidArgument (kData).
absl::Status CheckTeacherContext(const ModelConfig& teacher,
                                 const ExampleSource& examples);

// Teacher::ComputeTargets, but for what depends on the engine: `top` makes the
// rows of a batch, one a labelled position.
absl::Status WalkTargets(
    const ModelConfig& teacher, const ModelConfig& student,
    const ExampleSource& examples, double temperature, int64_t k,
    const std::function<absl::Status(const TopTokens&)>& take,
    const StopToken& stop, const std::function<void(int64_t)>& progress,
    const std::function<std::vector<TopTokens>(ExampleBatch)>& top);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TEACHER_WALK_H_
