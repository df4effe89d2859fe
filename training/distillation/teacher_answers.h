#ifndef EDGETUNE_TRAINING_DISTILLATION_TEACHER_ANSWERS_H_
#define EDGETUNE_TRAINING_DISTILLATION_TEACHER_ANSWERS_H_

// What a teacher says of examples, kept. Stateless; `stop`, `progress` and
// errors as of Teacher::ComputeTargets.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "training/distillation/targets.h"
#include "training/distillation/teacher.h"
#include "training/distillation/teacher_cache.h"

namespace edgetune {

// As a cache of these facts, which is there afterwards or not at all. Besides:
// errors of TeacherCacheWriter.
absl::Status WriteTeacherCache(Teacher& teacher, const ExampleSource& examples,
                               const TeacherCacheFacts& facts,
                               const std::string& path, const StopToken& stop,
                               const std::function<void(int64_t)>& progress);

// In memory, as a cache would give it back.
absl::StatusOr<std::unique_ptr<TeacherTargets>> HoldTargets(
    Teacher& teacher, const ExampleSource& examples,
    const TeacherCacheFacts& facts, const StopToken& stop,
    const std::function<void(int64_t)>& progress);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TEACHER_ANSWERS_H_
