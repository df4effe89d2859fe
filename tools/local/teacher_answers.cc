#include "tools/local/teacher_answers.h"

#include <cstdint>
#include <utility>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/progress.h"
#include "training/distillation/teacher_answers.h"

namespace edgetune {
namespace {

// work(progress), whose end by Ctrl-C leaves nothing.
template <typename Work>
absl::Status Ask(const TeacherCacheFacts& facts, const Output& output,
                 const Work& work) {
  Progress progress(output, "ask the teacher",
                    static_cast<uint64_t>(facts.positions),
                    Progress::Unit::kCount);
  const absl::Status asked =
      work([&](int64_t done) { progress.Update(static_cast<uint64_t>(done)); });
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
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(path, "--cache"));
  return Ask(facts, output, [&](const auto& progress) {
    return WriteTeacherCache(teacher, examples, facts, path, InterruptFlag(),
                             progress);
  });
}

absl::StatusOr<std::unique_ptr<TeacherTargets>> HoldTeacherTargets(
    Teacher& teacher, const ExampleSource& examples,
    const TeacherCacheFacts& facts, const Output& output) {
  std::unique_ptr<TeacherTargets> held;
  EDGETUNE_RETURN_IF_ERROR(
      Ask(facts, output, [&](const auto& progress) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(held, HoldTargets(teacher, examples, facts,
                                                    InterruptFlag(), progress));
        return absl::OkStatus();
      }));
  return held;
}

}  // namespace edgetune
