#ifndef EDGETUNE_TRAINING_TORCH_DISTILLATION_GRADIENT_H_
#define EDGETUNE_TRAINING_TORCH_DISTILLATION_GRADIENT_H_

// The two models of a distillation, for torch_distiller.cc. Torch-only header:
// included by torch .cc files alone. N positions, V the student's vocabulary,
// D its width, E the teacher's.

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/torch/llama.h"
#include "models/torch/shrink/distillation_loss.h"
#include "training/distillation/distiller.h"
#include "training/local_training.h"
#include "training/torch/packed_targets.h"
#include "training/trainer.h"

namespace edgetune {

// A teacher over the student's tokens. Life: Open before Hidden and OutputOf,
// as often as wanted. One thread.
class FrozenTeacher {
 public:
  // `tokens`: of MapTokens. kAuto is bfloat16 where the processor has it.
  FrozenTeacher(std::shared_ptr<const ModelFile> file,
                std::vector<int32_t> tokens, Precision precision);

  absl::Status Open();

  // Its states before the last norm where the student predicts [N,E], and what
  // it says there.
  at::Tensor Hidden(PackedTargets packed) const;
  TeacherOutput OutputOf(const at::Tensor& hidden) const;

  const ModelConfig& config() const { return file_->config(); }
  bool bf16() const { return bf16_; }

 private:
  std::shared_ptr<const ModelFile> file_;
  std::vector<int32_t> tokens_;  // of the student's; empty: the same
  bool bf16_;
  std::unique_ptr<const Llama> llama_;  // from Open on
  at::Tensor head_;                     // [V,E] likewise
};

// The student's states before its last norm at the rows of `packed` [N,D].
at::Tensor HiddenAt(const Llama& llama, const PackedTargets& packed);

// A student in training. What is trained is its weights and, where `start` has
// more values than those, the projection of hidden states [E,D] behind them.
// The teacher is open, unless the examples' targets stand in for it; it and
// `examples` outlive this. One thread.
class DistillationGradient final : public GradientEngine {
 public:
  static absl::StatusOr<std::unique_ptr<DistillationGradient>> Make(
      const FrozenTeacher& teacher, const ModelConfig& student,
      const Adapter& start, const ExampleSource& examples,
      const DistillationConfig& config);

  std::span<float> values() override {
    return {values_.data_ptr<float>(), static_cast<size_t>(values_.numel())};
  }
  std::span<float> gradient() override {
    return {gradient_.data_ptr<float>(), static_cast<size_t>(values_.numel())};
  }
  double AddGradient(ExampleBatch examples, double weight) override;

  const Llama& student() const { return *student_; }

 private:
  DistillationGradient(const FrozenTeacher& teacher,
                       const DistillationConfig& config,
                       std::unique_ptr<const TargetRows> targets)
      : teacher_(teacher), config_(config), targets_(std::move(targets)) {}
  at::Tensor Loss(ExampleBatch examples) const;

  const FrozenTeacher& teacher_;
  const DistillationConfig config_;
  const std::unique_ptr<const TargetRows> targets_;  // null: none
  at::Tensor values_, gradient_;
  std::unique_ptr<Llama> student_;
  at::Tensor projection_;  // [E,D], or undefined
  at::Tensor moving_;      // which values may; undefined: all
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_DISTILLATION_GRADIENT_H_
