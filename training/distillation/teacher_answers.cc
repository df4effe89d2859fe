#include "training/distillation/teacher_answers.h"

#include "base/status.h"

namespace edgetune {

absl::Status WriteTeacherCache(Teacher& teacher, const ExampleSource& examples,
                               const TeacherCacheFacts& facts,
                               const std::string& path, const StopToken& stop,
                               const std::function<void(int64_t)>& progress) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto writer,
                            TeacherCacheWriter::Create(path, facts));
  EDGETUNE_RETURN_IF_ERROR(teacher.ComputeTargets(
      examples, facts.temperature, facts.k,
      [&](const TopTokens& row) { return writer->Append(row); }, stop,
      progress));
  return writer->Commit();
}

absl::StatusOr<std::unique_ptr<TeacherTargets>> HoldTargets(
    Teacher& teacher, const ExampleSource& examples,
    const TeacherCacheFacts& facts, const StopToken& stop,
    const std::function<void(int64_t)>& progress) {
  auto held = std::make_unique<HeldTargets>(facts.temperature, facts.k);
  EDGETUNE_RETURN_IF_ERROR(teacher.ComputeTargets(
      examples, facts.temperature, facts.k,
      [&](const TopTokens& row) {
        held->Append(AsCached(row));
        return absl::OkStatus();
      },
      stop, progress));
  return held;
}

}  // namespace edgetune
