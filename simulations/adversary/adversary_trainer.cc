#include "simulations/adversary/adversary_trainer.h"

#include <utility>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {
namespace {

// Everything but Train.
class Decorator : public Trainer {
 public:
  explicit Decorator(TrainerOf trainer) : trainer_(std::move(trainer)) {}

  const ModelConfig& model() const override { return trainer_().model(); }
  std::string precision() const override { return trainer_().precision(); }
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    return trainer_().Evaluate(adapter, examples, max_examples, stop);
  }

 protected:
  Trainer& trainer() const { return trainer_(); }

 private:
  const TrainerOf trainer_;
};

class ScalingTrainer final : public Decorator {
 public:
  ScalingTrainer(double factor, TrainerOf trainer)
      : Decorator(std::move(trainer)), factor_(factor) {}

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override {
    EDGETUNE_ASSIGN_OR_RETURN(TrainResult result,
                              trainer().Train(adapter, examples, config,
                                              checkpoints, stop, progress));
    for (float& value : result.delta) {
      value = static_cast<float>(factor_ * value);
    }
    return result;
  }

 private:
  const double factor_;
};

class FreeRider final : public Decorator {
 public:
  using Decorator::Decorator;

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* /*checkpoints*/,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& /*progress*/) override {
    EDGETUNE_ASSIGN_OR_RETURN(const Evaluation incoming,
                              Evaluate(adapter, examples, config.batch, stop));
    TrainResult result;
    if (incoming.tokens > 0) {
      result.first_loss = result.last_loss =
          incoming.nll_sum / static_cast<double>(incoming.tokens);
    }
    result.steps = config.steps;
    result.delta.resize(TrainedLayout(adapter.layout, config).size());
    Random random = Random(config.seed).Split("free rider");
    for (float& value : result.delta) {
      value = static_cast<float>(kFreeRiderDeviation * random.Normal());
    }
    return result;
  }
};

}  // namespace

std::unique_ptr<Trainer> MakeScalingTrainer(double factor, TrainerOf trainer) {
  return std::make_unique<ScalingTrainer>(factor, std::move(trainer));
}

std::unique_ptr<Trainer> MakeFreeRider(TrainerOf trainer) {
  return std::make_unique<FreeRider>(std::move(trainer));
}

}  // namespace edgetune
