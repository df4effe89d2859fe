#include "tools/local/teacher_answers.h"

#include <cstdint>
#include <functional>
#include <utility>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

absl::Status Ask(Teacher& teacher, const ExampleSource& examples,
                 const TeacherCacheFacts& facts, const Output& output,
                 const std::function<absl::Status(const TopTokens&)>& take) {
  Progress progress(output, "ask the teacher",
                    static_cast<uint64_t>(facts.positions),
                    Progress::Unit::kCount);
  const absl::Status asked = teacher.ComputeTargets(
      examples, facts.temperature, facts.k, take, InterruptFlag(),
      [&](int64_t done) { progress.Update(static_cast<uint64_t>(done)); });
  if (absl::IsCancelled(asked)) return InterruptedError("nothing was written");
  return asked;
}

}  // namespace

absl::StatusOr<Evaluation> Uninterrupted(absl::StatusOr<Evaluation> measured) {
  if (absl::IsCancelled(measured.status())) {
    return InterruptedError("nothing was written");
  }
  return measured;
}

absl::Status FillTeacherCache(Teacher& teacher, const ExampleSource& examples,
                              const TeacherCacheFacts& facts,
                              const std::string& path, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(path));
  EDGETUNE_ASSIGN_OR_RETURN(const auto writer,
                            TeacherCacheWriter::Create(path, facts));
  EDGETUNE_RETURN_IF_ERROR(
      Ask(teacher, examples, facts, output,
          [&](const TopTokens& row) { return writer->Append(row); }));
  return writer->Commit();
}

absl::StatusOr<std::unique_ptr<TeacherTargets>> HoldTeacherTargets(
    Teacher& teacher, const ExampleSource& examples,
    const TeacherCacheFacts& facts, const Output& output) {
  auto held = std::make_unique<HeldTargets>(facts.temperature, facts.k);
  EDGETUNE_RETURN_IF_ERROR(
      Ask(teacher, examples, facts, output, [&](const TopTokens& row) {
        held->Append(row);
        return absl::OkStatus();
      }));
  return held;
}

}  // namespace edgetune
