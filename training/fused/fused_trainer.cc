#include "training/fused/fused_trainer.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/factors.h"
#include "base/status.h"
#include "models/exception_guard.h"
#include "models/fused/cpu.h"
#include "models/fused/parallel.h"

namespace edgetune {
namespace {

// Batches are filled up to multiples of so many tokens: oneDNN generates code
// for every shape, which takes longer than a few tokens more.
constexpr size_t kTokenStep = 64;

fused::PackedBatch Pack(ExampleBatch examples) {
  fused::PackedBatch batch;
  for (const LabelledTokens* example : examples) {
    batch.tokens.insert(batch.tokens.end(), example->tokens.begin(),
                        example->tokens.end());
    batch.lengths.push_back(example->tokens.size());
  }
  const size_t rest = batch.tokens.size() % kTokenStep;
  if (rest != 0) {
    // A sequence of its own, which nothing else sees and no label follows.
    batch.lengths.push_back(kTokenStep - rest);
    batch.tokens.resize(batch.tokens.size() + kTokenStep - rest, 0);
  }
  Targets targets = TargetsOf(examples);
  batch.label_rows = std::move(targets.rows);
  batch.label_tokens = std::move(targets.tokens);
  return batch;
}

// The trained coordinates of an adapter, kept beside the whole of it.
class FusedGradient final : public GradientEngine {
 public:
  FusedGradient(fused::Llama& llama, fused::LoraFactors lora,
                const ParameterLayout& layout, Factors trained)
      : llama_(llama),
        lora_(std::move(lora)),
        trained_(trained),
        ranges_(RangesOf(layout, trained)),
        values_(Gather(lora_.values(), ranges_)),
        gradient_(values_.size()) {}

  std::span<float> values() override { return values_; }
  std::span<float> gradient() override { return gradient_; }

  double AddGradient(ExampleBatch examples, double weight) override {
    Scatter(values_, ranges_, lora_.values());
    std::ranges::fill(lora_.gradient(), 0.0f);
    const double sum =
        llama_.AddGradient(Pack(examples), weight, trained_, lora_);
    const ParameterVector part = Gather(lora_.gradient(), ranges_);
    for (size_t i = 0; i < part.size(); ++i) gradient_[i] += part[i];
    return sum;
  }

 private:
  fused::Llama& llama_;
  fused::LoraFactors lora_;
  const Factors trained_;
  const std::vector<CoordinateRange> ranges_;
  ParameterVector values_, gradient_;
};

// OpenMP's setting is the calling thread's, which may be another than the one
// that made this.
template <typename Work>
auto Guarded(int threads, const Work& work) {
  return CatchExceptions([&] {
    fused::UseThreads(threads);
    return work();
  });
}

}  // namespace

bool FusedTrainer::UsesBf16(Precision precision) {
  return precision == Precision::kAuto ? fused::CpuMultipliesBf16()
                                       : precision == Precision::kBf16;
}

absl::StatusOr<std::unique_ptr<FusedTrainer>> FusedTrainer::Make(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  const int threads = fused::ThreadCount(options.threads);
  const bool bf16 = UsesBf16(options.precision);
  return Guarded(
      threads, [&]() -> absl::StatusOr<std::unique_ptr<FusedTrainer>> {
        EDGETUNE_ASSIGN_OR_RETURN(auto llama, fused::Llama::Load(*model, bf16));
        return std::unique_ptr<FusedTrainer>(new FusedTrainer(
            std::move(model), std::move(llama), bf16, threads));
      });
}

absl::StatusOr<Evaluation> FusedTrainer::Evaluate(const Adapter& adapter,
                                                  const ExampleSource& examples,
                                                  int64_t max_examples,
                                                  const StopToken& stop) {
  return Guarded(threads_, [&]() -> absl::StatusOr<Evaluation> {
    EDGETUNE_ASSIGN_OR_RETURN(const auto lora,
                              fused::LoraFactors::Make(model(), adapter));
    return EvaluateExamples(
        model(), examples, max_examples, stop, [&](ExampleBatch part) {
          const auto nll = llama_->Nll(Pack(part), &lora);
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
    EDGETUNE_ASSIGN_OR_RETURN(auto lora,
                              fused::LoraFactors::Make(model(), adapter));
    FusedGradient gradient(*llama_, std::move(lora), adapter.layout,
                           config.factors);
    const Segment segment = {"fused " + precision(),
                             model(),
                             adapter,
                             examples,
                             config,
                             checkpoints};
    return TrainSegment(segment, stop, progress, gradient);
  });
}

absl::StatusOr<BatchGradient> FusedTrainer::ComputeGradient(
    const Adapter& adapter, const ExampleSource& examples,
    int64_t micro_batch) {
  return Guarded(threads_, [&]() -> absl::StatusOr<BatchGradient> {
    EDGETUNE_ASSIGN_OR_RETURN(auto lora,
                              fused::LoraFactors::Make(model(), adapter));
    FusedGradient gradient(*llama_, std::move(lora), adapter.layout,
                           Factors::kBoth);
    return ComputeBatchGradient(model(), examples, micro_batch, gradient);
  });
}

}  // namespace edgetune
