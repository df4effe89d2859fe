#ifndef EDGETUNE_TRAINING_FUSED_FUSED_TRAINER_H_
#define EDGETUNE_TRAINING_FUSED_FUSED_TRAINER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/fused/llama.h"
#include "training/engine_loader.h"
#include "training/local_training.h"
#include "training/parse.h"
#include "training/trainer.h"

namespace edgetune {

// The fast Trainer: LoRA on fused::Llama, without LibTorch. Deterministic for
// a seed and a number of threads. Holds `model`. One thread at a time; errors
// are Trainer's, and ResourceExhausted when memory runs out.
class FusedTrainer final : public Trainer {
 public:
  // What `options` mean for the model. kAuto is bfloat16 where this processor
  // is faster with it.
  static fused::Llama::Options ModelOptions(const EngineOptions& options);

  static absl::StatusOr<std::unique_ptr<FusedTrainer>> Make(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options);

  const ModelConfig& model() const override { return file_->config(); }
  std::string precision() const override {
    return std::string(NameOf(precision_));
  }
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override;
  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override;

  // What one optimiser step of Train starts from (see ComputeBatchGradient).
  absl::StatusOr<BatchGradient> ComputeGradient(
      const Adapter& adapter, const ExampleSource& examples,
      int64_t micro_batch, double teacher_alpha = TrainConfig().teacher_alpha);

 private:
  static Precision PrecisionOf(const fused::Llama::Options& options);

  FusedTrainer(std::shared_ptr<const ModelFile> file,
               std::unique_ptr<fused::Llama> llama, Precision precision,
               int threads)
      : file_(std::move(file)),
        llama_(std::move(llama)),
        precision_(precision),
        threads_(threads) {}

  const std::shared_ptr<const ModelFile> file_;
  const std::unique_ptr<fused::Llama> llama_;
  const Precision precision_;
  const int threads_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_FUSED_FUSED_TRAINER_H_
