#ifndef EDGETUNE_TRAINING_TORCH_VISION_TRAINER_H_
#define EDGETUNE_TRAINING_TORCH_VISION_TRAINER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "training/engine_loader.h"
#include "training/local_training.h"
#include "training/trainer.h"

namespace edgetune {

// The Trainer of vision models: all parameters through LibTorch's autograd, in
// float32, but never the statistics that batch norm divides by: those are the
// base's, in training as in evaluation. Pixels are scaled to [0, 1] and then
// normalised as the model says. An adapter is what is added to the base's
// weights; while it trains, TrainSegment sees the sums, so that weight decay
// acts on weights and the delta is their change. Deterministic for a seed and a
// number of threads. Holds a copy of the weights, and `model`. One thread at a
// time; errors are Trainer's, and ResourceExhausted when memory runs out.
class VisionTrainer final : public Trainer {
 public:
  // InvalidArgument (kConfig): a precision other than kAuto and kFp32.
  static absl::StatusOr<std::unique_ptr<VisionTrainer>> Make(
      std::shared_ptr<const ModelFile> model, const EngineOptions& options);
  ~VisionTrainer() override;

  const ModelConfig& model() const override;
  std::string precision() const override { return "fp32"; }
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override;
  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override;

  // As LoraTrainer's: all of `examples` as one batch, without dropout.
  absl::StatusOr<BatchGradient> ComputeGradient(
      const Adapter& adapter, const ExampleSource& examples,
      int64_t micro_batch, double teacher_alpha = TrainConfig().teacher_alpha);
  // Logits of one image after the other [N,K].
  absl::StatusOr<std::vector<float>> ComputeLogits(const Adapter& adapter,
                                                   ExampleBatch examples);

 private:
  struct Body;
  explicit VisionTrainer(std::unique_ptr<Body> body);

  const std::unique_ptr<Body> body_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_VISION_TRAINER_H_
