#include "training/distillation/teacher_walk.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "training/distillation/distiller.h"

namespace edgetune {
namespace {

absl::Status CheckAsked(double temperature, int64_t k, int64_t vocabulary) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckDistillationConfig({.temperature = temperature}));
  if (k >= 1 && k <= vocabulary) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "the {} likeliest of {} tokens are none", k, vocabulary)),
                  ErrorKind::kConfig);
}

// A probability's logarithm is at most 0, but for rounding.
bool AreLogarithms(const TopTokens& row) {
  const auto fits = [](float value) { return value <= 1e-3f; };  // not of NaN
  return std::ranges::all_of(row.log_probabilities, fits) && fits(row.log_rest);
}

}  // namespace

absl::Status CheckTeacherTokens(const ModelConfig& teacher,
                                const ModelConfig& student,
                                std::span<const int32_t> tokens) {
  const int64_t all = teacher.vocab;
  const bool fits =
      tokens.empty() ? student.vocab == all
                     : student.vocab == static_cast<int64_t>(tokens.size()) &&
                           std::ranges::all_of(tokens, [all](int32_t id) {
                             return id >= 0 && id < all;
                           });
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a student of {} tokens does not fit a teacher of {}",
                  student.vocab, all));
}

absl::Status CheckTeacherContext(const ModelConfig& teacher,
                                 const ExampleSource& examples) {
  for (int64_t i = 0; i < examples.size(); ++i) {
    const auto n = static_cast<int64_t>(examples.Get(i).tokens.size());
    if (n <= teacher.context) continue;
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "example {}: {} tokens, the teacher takes at most {}",
                        i, n, teacher.context)),
                    ErrorKind::kData);
  }
  return absl::OkStatus();
}

absl::Status WalkTargets(
    const ModelConfig& teacher, const ModelConfig& student,
    const ExampleSource& examples, double temperature, int64_t k,
    const std::function<absl::Status(const TopTokens&)>& take,
    const StopToken& stop, const std::function<void(int64_t)>& progress,
    const std::function<std::vector<TopTokens>(ExampleBatch)>& top) {
  EDGETUNE_RETURN_IF_ERROR(CheckAsked(temperature, k, student.vocab));
  EDGETUNE_RETURN_IF_ERROR(CheckTeacherContext(teacher, examples));
  absl::Status taken;
  int64_t done = 0;
  // The walk of an evaluation, over the same batches; its sum is nobody's.
  const auto walked =
      EvaluateExamples(student, examples, 0, stop, [&](ExampleBatch part) {
        if (!taken.ok()) return 0.0;
        for (const TopTokens& row : top(part)) {
          if (!AreLogarithms(row)) {
            taken = absl::DataLossError(
                "the teacher's logits are no numbers: its weights are damaged");
          } else {
            taken = take(row);
          }
          if (!taken.ok()) return 0.0;
          ++done;
        }
        if (progress) progress(done);
        return 0.0;
      });
  EDGETUNE_RETURN_IF_ERROR(taken);
  return walked.status();
}

}  // namespace edgetune
