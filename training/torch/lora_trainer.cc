#include "training/torch/lora_trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/thread_count.h"
#include "models/exception_guard.h"
#include "models/io/adapter/core_adapter.h"
#include "models/torch/language_model_torch.h"
#include "models/torch/llama.h"
#include "training/distillation/targets.h"
#include "training/torch/packed_targets.h"
#include "training/torch/top_targets.h"

namespace edgetune {
namespace {

// The summed loss of `examples` as a float64 scalar, differentiable in the
// factors when grad mode is on.
at::Tensor SumLoss(const Llama& llama, const LoraFactors& lora,
                   ExampleBatch examples) {
  const PackedTargets packed(examples);
  const at::Tensor hidden = llama.Hidden(packed.sequences, &lora)
                                .index_select(0, packed.rows);  // [N,D]
  if (!at::GradMode::is_enabled()) {
    return llama.NllOf(hidden, packed.next).sum(at::kDouble);
  }
  return llama.SumNllOf(hidden, packed.next);
}

class TorchGradient final : public GradientEngine {
 public:
  // `teacher` may be null; `teacher_alpha` as of TrainConfig.
  TorchGradient(const Llama& llama, LoraFactors lora,
                std::unique_ptr<const TargetRows> teacher, double teacher_alpha)
      : llama_(llama),
        lora_(std::move(lora)),
        teacher_(std::move(teacher)),
        teacher_alpha_(teacher_alpha) {}

  std::span<float> values() override { return {lora_.values(), lora_.size()}; }
  std::span<float> gradient() override {
    return {lora_.gradient(), lora_.size()};
  }
  double AddGradient(ExampleBatch examples, double weight) override {
    const at::AutoGradMode with_grad(true);
    const at::Tensor loss = teacher_ == nullptr
                                ? SumLoss(llama_, lora_, examples)
                                : SumTaughtLoss(examples);
    (loss * weight).backward();
    return loss.item<double>();
  }

 private:
  at::Tensor SumTaughtLoss(ExampleBatch examples) const {
    const PackedTargets packed(examples);
    const at::Tensor hidden = llama_.Hidden(packed.sequences, &lora_)
                                  .index_select(0, packed.rows);  // [N,D]
    return SumDistillation(
        llama_.Normalised(hidden), llama_.head(), packed.next,
        TopTargetsOf(*teacher_, examples, packed.next.size(0)),
        WeightsOf(*teacher_, teacher_alpha_));
  }

  const Llama& llama_;
  LoraFactors lora_;
  std::unique_ptr<const TargetRows> teacher_;
  double teacher_alpha_;
};

}  // namespace

struct LoraTrainer::Body {
  std::shared_ptr<const ModelFile> file;
  std::unique_ptr<const Llama> llama;
  bool bf16 = false;
  int threads = 1;

  absl::StatusOr<TorchGradient> GradientAt(const Adapter& adapter,
                                           Factors trained,
                                           const ExampleSource& examples,
                                           double teacher_alpha) const {
    EDGETUNE_ASSIGN_OR_RETURN(
        LoraFactors lora, LoraFactors::Make(file->config(), adapter, trained));
    EDGETUNE_ASSIGN_OR_RETURN(auto teacher, TargetRows::Of(examples));
    return TorchGradient(*llama, std::move(lora), std::move(teacher),
                         teacher_alpha);
  }
};

LoraTrainer::LoraTrainer(std::unique_ptr<Body> body) : body_(std::move(body)) {}

LoraTrainer::~LoraTrainer() = default;

absl::StatusOr<std::unique_ptr<LoraTrainer>> LoraTrainer::Make(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return CatchExceptions([&]() -> absl::StatusOr<std::unique_ptr<LoraTrainer>> {
    auto body = std::make_unique<Body>();
    body->file = std::move(model);
    body->threads = ThreadCount(options.threads);
    body->bf16 = options.precision == Precision::kAuto
                     ? CpuMultipliesBf16()
                     : options.precision == Precision::kBf16;
    at::set_num_threads(body->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        body->llama,
        Llama::Load(*body->file, body->bf16 ? at::kBFloat16 : at::kFloat));
    return std::unique_ptr<LoraTrainer>(new LoraTrainer(std::move(body)));
  });
}

const ModelConfig& LoraTrainer::model() const { return body_->file->config(); }

std::string LoraTrainer::precision() const {
  return body_->bf16 ? "bf16" : "fp32";
}

// at::set_num_threads acts on the calling thread, which may be another than
// the one that made this.
absl::StatusOr<Evaluation> LoraTrainer::Evaluate(const Adapter& adapter,
                                                 const ExampleSource& examples,
                                                 int64_t max_examples,
                                                 const StopToken& stop) {
  return CatchExceptions([&]() -> absl::StatusOr<Evaluation> {
    at::set_num_threads(body_->threads);
    const at::NoGradGuard no_grad;
    std::optional<Adapter> plain;
    EDGETUNE_ASSIGN_OR_RETURN(
        const LoraFactors lora,
        LoraFactors::Make(model(), PlainForm(adapter, plain),
                          /*trained=*/std::nullopt));
    return EvaluateExamples(
        model(), examples, max_examples, stop, [&](ExampleBatch part) {
          return SumLoss(*body_->llama, lora, part).item<double>();
        });
  });
}

absl::StatusOr<TrainResult> LoraTrainer::Train(
    const Adapter& adapter, const ExampleSource& examples,
    const TrainConfig& config, CheckpointStore* checkpoints,
    const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) {
  return CatchExceptions([&]() -> absl::StatusOr<TrainResult> {
    at::set_num_threads(body_->threads);
    std::optional<Adapter> plain;
    EDGETUNE_ASSIGN_OR_RETURN(
        TorchGradient gradient,
        body_->GradientAt(PlainForm(adapter, plain),
                          EngineFactors(config.factors), examples,
                          config.teacher_alpha));
    const Segment segment = {"reference " + precision(),
                             model(),
                             adapter,
                             examples,
                             config,
                             checkpoints};
    return TrainSegment(segment, stop, progress, gradient);
  });
}

absl::StatusOr<BatchGradient> LoraTrainer::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples, int64_t micro_batch,
    double teacher_alpha) {
  return CatchExceptions([&]() -> absl::StatusOr<BatchGradient> {
    at::set_num_threads(body_->threads);
    EDGETUNE_ASSIGN_OR_RETURN(
        TorchGradient gradient,
        body_->GradientAt(adapter, Factors::kBoth, examples, teacher_alpha));
    return ComputeBatchGradient(model(), examples, micro_batch, gradient);
  });
}

}  // namespace edgetune
