#ifndef EDGETUNE_TRAINING_TORCH_TORCH_DISTILLER_H_
#define EDGETUNE_TRAINING_TORCH_TORCH_DISTILLER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/distillation/distiller.h"
#include "training/engine_loader.h"
#include "training/local_training.h"

namespace edgetune {

// The Distiller over LibTorch's autograd: all of the student's weights in
// float32, the teacher's products in options.precision. AdamW or SGD on the
// flat vector, through TrainSegment: its order of examples, schedule, clipping
// and checkpoints. Deterministic for a seed and a number of threads. Holds
// `teacher`, its de-quantised weights while they are needed, and while it
// trains up to seven vectors of the student's size. One thread at a time;
// errors are Distiller's.
class TorchDistiller final : public Distiller {
 public:
  // `teacher_tokens`: of MapTokens (token_map.h). InvalidArgument: sizes of a
  // student that cannot be, a map that does not fit the two.
  static absl::StatusOr<std::unique_ptr<TorchDistiller>> Make(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens, const EngineOptions& options);
  ~TorchDistiller() override;

  absl::StatusOr<Evaluation> Evaluate(std::span<const float> weights,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override;
  absl::StatusOr<DistilledStudent> Train(
      ParameterVector weights, const ExampleSource& examples,
      const TrainConfig& train, const DistillationConfig& config,
      const HeldOut& held_out, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override;

  // What one optimiser step of Train starts from, for comparisons with other
  // implementations: all of `examples` as one batch. `nll_sum` is the sum of
  // what is minimised.
  absl::StatusOr<BatchGradient> ComputeGradient(
      const ParameterVector& weights, const ExampleSource& examples,
      int64_t micro_batch, const DistillationConfig& config);

 private:
  struct Body;
  explicit TorchDistiller(std::unique_ptr<Body> body);

  const std::unique_ptr<Body> body_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_TORCH_DISTILLER_H_
