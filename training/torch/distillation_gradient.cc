#include "training/torch/distillation_gradient.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "models/io/text_weights.h"
#include "models/torch/language_model_torch.h"
#include "training/torch/top_targets.h"

namespace edgetune {

FrozenTeacher::FrozenTeacher(std::shared_ptr<const ModelFile> file,
                             std::vector<int32_t> tokens, Precision precision)
    : file_(std::move(file)),
      tokens_(std::move(tokens)),
      bf16_(precision == Precision::kAuto ? CpuMultipliesBf16()
                                          : precision == Precision::kBf16) {}

absl::Status FrozenTeacher::Open() {
  if (llama_ != nullptr) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(
      llama_, Llama::Load(*file_, bf16_ ? at::kBFloat16 : at::kFloat));
  head_ = llama_->head();
  if (tokens_.empty()) return absl::OkStatus();
  const std::vector<int64_t> rows(tokens_.begin(), tokens_.end());
  head_ = head_.index_select(0, at::tensor(rows, at::kLong));
  return absl::OkStatus();
}

at::Tensor FrozenTeacher::Hidden(PackedTargets packed) const {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<int32_t>> texts;
  if (!tokens_.empty()) {
    for (std::span<const int32_t>& sequence : packed.sequences) {
      std::vector<int32_t> text;
      for (const int32_t id : sequence) {
        text.push_back(tokens_[static_cast<size_t>(id)]);
      }
      // Where the numbers lie does not change when the vector moves.
      texts.push_back(std::move(text));
      sequence = texts.back();
    }
  }
  return HiddenAt(*llama_, packed);
}

TeacherOutput FrozenTeacher::OutputOf(const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return {llama_->Normalised(hidden), head_};
}

at::Tensor HiddenAt(const Llama& llama, const PackedTargets& packed) {
  return llama.Hidden(packed.sequences, nullptr).index_select(0, packed.rows);
}

absl::StatusOr<std::unique_ptr<DistillationGradient>>
DistillationGradient::Make(const FrozenTeacher& teacher,
                           const ModelConfig& student, const Adapter& start,
                           const ExampleSource& examples,
                           const DistillationConfig& config) {
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            TextLayoutOf(student));
  EDGETUNE_ASSIGN_OR_RETURN(auto targets, TargetRows::Of(examples));
  std::unique_ptr<DistillationGradient> out(
      new DistillationGradient(teacher, config, std::move(targets)));
  const auto n = static_cast<int64_t>(start.values.size());
  const auto own = static_cast<int64_t>(layout.size());
  out->values_ = at::empty({n}, at::kFloat);
  std::ranges::copy(start.values, out->values().begin());
  out->gradient_ = at::zeros({n}, at::kFloat);
  // What has no gradient has no momentum either, and decays from 0 to 0.
  if (config.keep_zeros) out->moving_ = out->values_.ne(0);
  EDGETUNE_ASSIGN_OR_RETURN(out->student_,
                            Llama::Over(student, out->values_.narrow(0, 0, own),
                                        out->gradient_.narrow(0, 0, own)));
  if (n > own) {
    const auto cut = [&](const at::Tensor& flat) {
      return flat.narrow(0, own, n - own).view({-1, student.hidden}).detach();
    };
    out->projection_ = cut(out->values_).set_requires_grad(true);
    out->projection_.mutable_grad() = cut(out->gradient_);
  }
  return out;
}

double DistillationGradient::AddGradient(ExampleBatch examples, double weight) {
  const at::AutoGradMode with_grad(true);
  const at::Tensor loss = Loss(examples);
  (loss * weight).backward();
  if (moving_.defined()) gradient_.mul_(moving_);
  return loss.item<double>();
}

at::Tensor DistillationGradient::Loss(ExampleBatch examples) const {
  const PackedTargets packed(examples);
  const at::Tensor hidden = HiddenAt(*student_, packed);  // [N,D]
  const at::Tensor last = student_->Normalised(hidden);   // [N,D]
  const DistillationWeights weights = {config_.temperature, config_.alpha,
                                       config_.entropy};
  if (targets_ != nullptr) {
    return SumDistillation(
        last, student_->head(), packed.next,
        TopTargetsOf(*targets_, examples, packed.next.size(0)), weights);
  }
  at::Tensor seen;  // by the teacher [N,E]
  if (config_.alpha > 0 || config_.hidden > 0) {
    seen = teacher_.Hidden(packed);
  }
  const at::Tensor loss = SumDistillation(
      last, student_->head(), packed.next,
      config_.alpha > 0 ? teacher_.OutputOf(seen) : TeacherOutput(), weights);
  if (config_.hidden == 0) return loss;
  return loss + SumHiddenMatch(hidden, seen, projection_) * config_.hidden;
}

}  // namespace edgetune
