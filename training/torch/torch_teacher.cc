#include "training/torch/torch_teacher.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/torch/language_model_torch.h"
#include "training/distillation/teacher_walk.h"
#include "training/torch/distillation_gradient.h"

namespace edgetune {
namespace {

std::vector<TopTokens> RowsOf(const TopTargets& targets) {
  const int64_t k = targets.ids.size(1);
  std::vector<TopTokens> out;
  for (int64_t row = 0; row < targets.ids.size(0); ++row) {
    const int64_t* ids = targets.ids.data_ptr<int64_t>() + row * k;
    const float* values = targets.values.data_ptr<float>() + row * k;
    out.push_back({std::vector<int32_t>(ids, ids + k),
                   std::vector<float>(values, values + k),
                   targets.rest.data_ptr<float>()[row]});
  }
  return out;
}

// at::set_num_threads acts on the calling thread.
template <typename Work>
auto Guarded(int threads, const Work& work) {
  return CatchExceptions([&] {
    at::set_num_threads(threads);
    const at::NoGradGuard no_grad;
    return work();
  });
}

class TorchTeacher final : public Teacher {
 public:
  TorchTeacher(FrozenTeacher teacher, ModelConfig student, int threads)
      : teacher_(std::move(teacher)),
        student_(std::move(student)),
        threads_(threads) {}

  absl::StatusOr<Evaluation> Evaluate(const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    return Guarded(threads_, [&]() -> absl::StatusOr<Evaluation> {
      EDGETUNE_RETURN_IF_ERROR(
          CheckTeacherContext(teacher_.config(), examples));
      EDGETUNE_RETURN_IF_ERROR(teacher_.Open());
      return EvaluateExamples(
          student_, examples, max_examples, stop, [&](ExampleBatch part) {
            const PackedTargets packed(part);
            const TeacherOutput said =
                teacher_.OutputOf(teacher_.Hidden(packed));
            return TokenNll(said.hidden, said.head, packed.next)
                .sum(at::kDouble)
                .item<double>();
          });
    });
  }

  absl::Status ComputeTargets(
      const ExampleSource& examples, double temperature, int64_t k,
      const std::function<absl::Status(const TopTokens&)>& take,
      const StopToken& stop,
      const std::function<void(int64_t)>& progress) override {
    return Guarded(threads_, [&]() -> absl::Status {
      EDGETUNE_RETURN_IF_ERROR(teacher_.Open());
      return WalkTargets(
          teacher_.config(), student_, examples, temperature, k, take, stop,
          progress, [&](ExampleBatch part) {
            return RowsOf(TopTargetsOf(
                teacher_.OutputOf(teacher_.Hidden(PackedTargets(part))),
                temperature, k));
          });
    });
  }

 private:
  FrozenTeacher teacher_;
  const ModelConfig student_;
  const int threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Teacher>> MakeTorchTeacher(
    std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
    std::vector<int32_t> teacher_tokens, const EngineOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckTeacherTokens(teacher->config(), student, teacher_tokens));
  return std::make_unique<TorchTeacher>(
      FrozenTeacher(std::move(teacher), std::move(teacher_tokens),
                    options.precision),
      student, ThreadCount(options.threads));
}

}  // namespace edgetune
