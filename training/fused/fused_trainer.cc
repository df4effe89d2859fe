#include "training/fused/fused_trainer.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/factors.h"
#include "base/status.h"
#include "base/thread_count.h"
#include "models/fused/cpu.h"
#include "models/io/adapter/core_adapter.h"
#include "models/step_profile.h"
#include "training/distillation/targets.h"
#include "training/fused/packed_examples.h"
#include "training/fused/taught_loss.h"

namespace edgetune {
namespace {

// The trained coordinates of an adapter, kept beside the whole of it.
class FusedGradient final : public GradientEngine {
 public:
  // `teacher` may be null; `teacher_alpha` as of TrainConfig.
  FusedGradient(fused::Llama& llama, fused::LoraFactors lora,
                const ParameterLayout& layout, Factors trained,
                std::unique_ptr<const TargetRows> teacher, double teacher_alpha)
      : llama_(llama),
        lora_(std::move(lora)),
        trained_(trained),
        ranges_(RangesOf(layout, trained)),
        values_(Gather(lora_.values(), ranges_)),
        gradient_(values_.size()),
        teacher_(std::move(teacher)) {
    if (teacher_ != nullptr) {
      taught_.emplace(teacher_->targets().temperature(), teacher_alpha);
    }
  }

  std::span<float> values() override { return values_; }
  std::span<float> gradient() override { return gradient_; }

  double AddGradient(ExampleBatch examples, double weight) override {
    Scatter(values_, ranges_, lora_.values());
    std::ranges::fill(lora_.gradient(), 0.0f);
    Pack(examples, batch_);
    const double sum =
        taught_ ? AddTaughtGradient(examples, weight)
                : llama_.AddGradient(batch_, weight, trained_, lora_);
    for (const CoordinateRange& range : ranges_) {
      const float* part = lora_.gradient().data() + range.adapter_offset;
      float* gradient = gradient_.data() + range.update_offset;
      for (size_t i = 0; i < range.count; ++i) gradient[i] += part[i];
    }
    return sum;
  }

 private:
  double AddTaughtGradient(ExampleBatch examples, double weight) {
    std::vector<TopTokens>& targets = taught_->targets();
    targets.resize(batch_.label_tokens.size());
    size_t at = 0;
    teacher_->ForRows(examples,
                      [&](const TopTokens& row) { targets[at++] = row; });
    taught_->SetLabels(batch_.label_tokens);
    return llama_.AddGradient(batch_, std::ref(*taught_), weight, trained_,
                              lora_);
  }

  fused::Llama& llama_;
  fused::LoraFactors lora_;
  const Factors trained_;
  const std::vector<CoordinateRange> ranges_;
  ParameterVector values_, gradient_;
  fused::PackedBatch batch_;
  const std::unique_ptr<const TargetRows> teacher_;
  std::optional<TaughtLoss> taught_;  // with a teacher
};

}  // namespace

Precision FusedTrainer::PrecisionOf(const fused::Llama::Options& options) {
  if (options.int8) return Precision::kInt8;
  return options.bf16 ? Precision::kBf16 : Precision::kFp32;
}

fused::Llama::Options FusedTrainer::ModelOptions(const EngineOptions& options) {
  const bool bf16 = options.precision == Precision::kAuto ||
                            options.precision == Precision::kInt8
                        ? fused::CpuMultipliesBf16()
                        : options.precision == Precision::kBf16;
  return {.bf16 = bf16,
          .int8 = options.precision == Precision::kInt8,
          .copy_weights = options.weights == WeightMemory::kCopied,
          .recompute = options.recompute};
}

absl::StatusOr<std::unique_ptr<FusedTrainer>> FusedTrainer::Make(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  const int threads = ThreadCount(options.threads);
  const auto how = ModelOptions(options);
  return Guarded(
      threads, [&]() -> absl::StatusOr<std::unique_ptr<FusedTrainer>> {
        EDGETUNE_ASSIGN_OR_RETURN(auto llama, fused::Llama::Load(model, how));
        return std::unique_ptr<FusedTrainer>(new FusedTrainer(
            std::move(model), std::move(llama), PrecisionOf(how), threads));
      });
}

absl::StatusOr<Evaluation> FusedTrainer::Evaluate(const Adapter& adapter,
                                                  const ExampleSource& examples,
                                                  int64_t max_examples,
                                                  const StopToken& stop) {
  return Guarded(threads_, [&]() -> absl::StatusOr<Evaluation> {
    std::optional<Adapter> plain;
    EDGETUNE_ASSIGN_OR_RETURN(
        const auto lora,
        fused::LoraFactors::Make(model(), PlainForm(adapter, plain)));
    fused::PackedBatch batch;
    return EvaluateExamples(
        model(), examples, max_examples, stop, [&](ExampleBatch part) {
          Pack(part, batch);
          const auto nll = llama_->Nll(batch, &lora);
          return std::accumulate(nll.begin(), nll.end(), 0.0);
        });
  });
}

absl::StatusOr<TrainResult> FusedTrainer::Train(
    const Adapter& adapter, const ExampleSource& examples,
    const TrainConfig& config, CheckpointStore* checkpoints,
    const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress) {
  return Guarded(threads_, [&]() -> absl::StatusOr<TrainResult> {
    std::optional<Adapter> made;
    const Adapter& plain = PlainForm(adapter, made);
    EDGETUNE_ASSIGN_OR_RETURN(auto lora,
                              fused::LoraFactors::Make(model(), plain));
    EDGETUNE_ASSIGN_OR_RETURN(auto teacher, TargetRows::Of(examples));
    FusedGradient gradient(*llama_, std::move(lora), plain.layout,
                           EngineFactors(config.factors), std::move(teacher),
                           config.teacher_alpha);
    const Segment segment = {"fused " + precision(),
                             model(),
                             adapter,
                             examples,
                             config,
                             checkpoints};
    std::optional<StepProfiler> profiler;
    if (config.profile) profiler.emplace();
    EDGETUNE_ASSIGN_OR_RETURN(TrainResult result,
                              TrainSegment(segment, stop, progress, gradient));
    if (profiler) result.profile = profiler->Read();
    return result;
  });
}

absl::StatusOr<BatchGradient> FusedTrainer::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples, int64_t micro_batch,
    double teacher_alpha) {
  return Guarded(threads_, [&]() -> absl::StatusOr<BatchGradient> {
    EDGETUNE_ASSIGN_OR_RETURN(auto lora,
                              fused::LoraFactors::Make(model(), adapter));
    EDGETUNE_ASSIGN_OR_RETURN(auto teacher, TargetRows::Of(examples));
    FusedGradient gradient(*llama_, std::move(lora), adapter.layout,
                           Factors::kBoth, std::move(teacher), teacher_alpha);
    return ComputeBatchGradient(model(), examples, micro_batch, gradient);
  });
}

}  // namespace edgetune
