#include "simulations/runner/null_engine.h"

#include <bit>
#include <utility>

#include "base/random.h"

namespace edgetune {
namespace {

class NullTrainer final : public Trainer {
 public:
  explicit NullTrainer(std::shared_ptr<const ModelFile> model)
      : model_(std::move(model)) {}

  const ModelConfig& model() const override { return model_->config(); }
  std::string precision() const override { return "null"; }

  absl::StatusOr<Evaluation> Evaluate(const Adapter& /*adapter*/,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& /*stop*/) override {
    Evaluation evaluation;
    for (int64_t i = 0; i < examples.size(); ++i) {
      if (max_examples != 0 && i >= max_examples) break;
      evaluation.tokens +=
          static_cast<int64_t>(examples.Get(i).tokens.size()) - 1;
    }
    evaluation.nll_sum = static_cast<double>(evaluation.tokens);
    return evaluation;
  }

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& /*examples*/,
      const TrainConfig& config, CheckpointStore* /*checkpoints*/,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& /*progress*/) override {
    TrainResult result;
    result.stopped = stop;
    result.steps = stop ? 0 : config.steps;
    Random random(config.seed);
    result.delta.resize(TrainedLayout(adapter.layout, config).size());
    // A draw makes two floats of 23 random bits in [-1, 1) / 1024.
    for (size_t i = 0; i < result.delta.size(); i += 2) {
      const uint64_t bits = random.Next();
      result.delta[i] = Small(static_cast<uint32_t>(bits));
      if (i + 1 < result.delta.size()) {
        result.delta[i + 1] = Small(static_cast<uint32_t>(bits >> 32));
      }
    }
    return result;
  }

 private:
  static float Small(uint32_t bits) {
    // In [2, 4) by its exponent.
    return (std::bit_cast<float>((bits >> 9) | 0x40000000u) - 3) / 1024;
  }

  const std::shared_ptr<const ModelFile> model_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> NullEngine::MakeTrainer(
    std::shared_ptr<const ModelFile> model, const EngineOptions& /*options*/) {
  return std::make_unique<NullTrainer>(std::move(model));
}

absl::StatusOr<std::unique_ptr<LanguageModel>> NullEngine::MakeLanguageModel(
    std::shared_ptr<const ModelFile> /*model*/,
    const EngineOptions& /*options*/) {
  return absl::UnimplementedError("the null engine speaks no language");
}

}  // namespace edgetune
