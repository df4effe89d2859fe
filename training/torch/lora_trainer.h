#ifndef EDGETUNE_TRAINING_TORCH_LORA_TRAINER_H_
#define EDGETUNE_TRAINING_TORCH_LORA_TRAINER_H_

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "training/engine_loader.h"
#include "training/local_training.h"
#include "training/trainer.h"

namespace edgetune {

// The reference Trainer: LoRA on Llama through LibTorch's autograd, AdamW on
// the adapter. Deterministic for a seed and a number of threads. Holds its own
// copy of the de-quantised weights, and `model`. One thread at a time; errors
// are Trainer's, and ResourceExhausted when memory runs out.
class LoraTrainer final : public Trainer {
 public:
  static absl::StatusOr<std::unique_ptr<LoraTrainer>> Make(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options);
  ~LoraTrainer() override;

  const ModelConfig& model() const override;
  std::string precision() const override;
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override;
  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override;

  // What one optimiser step of Train starts from, for comparisons with other
  // implementations: all of `examples` as one batch.
  absl::StatusOr<BatchGradient> ComputeGradient(
      const Adapter& adapter, const ExampleSource& examples,
      int64_t micro_batch, double teacher_alpha = TrainConfig().teacher_alpha);

 private:
  struct Body;
  explicit LoraTrainer(std::unique_ptr<Body> body);

  const std::unique_ptr<Body> body_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_LORA_TRAINER_H_
