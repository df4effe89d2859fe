#ifndef EDGETUNE_TOOLS_LOCAL_TEACHER_ANSWERS_H_
#define EDGETUNE_TOOLS_LOCAL_TEACHER_ANSWERS_H_

// What `distill` asks a teacher, with progress. Stateless.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tools/output.h"
#include "training/distillation/targets.h"
#include "training/distillation/teacher.h"
#include "training/distillation/teacher_cache.h"

namespace edgetune {

// An evaluation, or its end by Ctrl-C.
absl::StatusOr<Evaluation> Uninterrupted(absl::StatusOr<Evaluation> measured);

// Asks for what `facts` says of these examples and writes it to a cache, which
// is there afterwards or not at all.
absl::Status FillTeacherCache(Teacher& teacher, const ExampleSource& examples,
                              const TeacherCacheFacts& facts,
                              const std::string& path, const Output& output);

// The same, kept in memory.
absl::StatusOr<std::unique_ptr<TeacherTargets>> HoldTeacherTargets(
    Teacher& teacher, const ExampleSource& examples,
    const TeacherCacheFacts& facts, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_TEACHER_ANSWERS_H_
