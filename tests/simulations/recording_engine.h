#ifndef EDGETUNE_TESTS_SIMULATIONS_RECORDING_ENGINE_H_
#define EDGETUNE_TESTS_SIMULATIONS_RECORDING_ENGINE_H_

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "base/status.h"
#include "tests/client/fixture.h"

namespace edgetune::testing {

// FakeEngine of one device that remembers what the device's training and
// evaluation gave: what nobody else may learn of a single device. Thread-safe.
class RecordingEngine final : public Engine {
 public:
  bool UsesBf16(Precision precision) const override {
    return fake.UsesBf16(precision);
  }
  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    EDGETUNE_ASSIGN_OR_RETURN(auto trainer,
                              fake.MakeTrainer(std::move(model), options));
    return std::make_unique<Recorder>(this, std::move(trainer));
  }
  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override {
    return fake.MakeLanguageModel(std::move(model), options);
  }

  // The newest result of each round.
  std::map<int64_t, ParameterVector> deltas() const {
    std::lock_guard<std::mutex> lock(mu_);
    return deltas_;
  }
  // And the correction that it was made with.
  std::map<int64_t, ParameterVector> corrections() const {
    std::lock_guard<std::mutex> lock(mu_);
    return corrections_;
  }
  // The adapter with which the newest training of each round began, and the one
  // of the last evaluation.
  std::map<int64_t, ParameterVector> incoming() const {
    std::lock_guard<std::mutex> lock(mu_);
    return incoming_;
  }
  ParameterVector evaluated() const {
    std::lock_guard<std::mutex> lock(mu_);
    return evaluated_;
  }
  std::vector<double> losses() const {
    std::lock_guard<std::mutex> lock(mu_);
    return losses_;
  }

  FakeEngine fake;

 private:
  class Recorder final : public Trainer {
   public:
    Recorder(RecordingEngine* engine, std::unique_ptr<Trainer> trainer)
        : engine_(engine), trainer_(std::move(trainer)) {}

    const ModelConfig& model() const override { return trainer_->model(); }
    std::string precision() const override { return trainer_->precision(); }
    absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                        const ExampleSource& examples,
                                        int64_t max_examples,
                                        const StopToken& stop) override {
      auto result = trainer_->Evaluate(adapter, examples, max_examples, stop);
      std::lock_guard<std::mutex> lock(engine_->mu_);
      engine_->evaluated_ = adapter.values;
      if (result.ok()) engine_->losses_.push_back(result->nll_sum);
      return result;
    }
    absl::StatusOr<TrainResult> Train(
        const Adapter& adapter, const ExampleSource& examples,
        const TrainConfig& config, CheckpointStore* checkpoints,
        const StopToken& stop,
        const std::function<void(const TrainProgress&)>& progress) override {
      auto result = trainer_->Train(adapter, examples, config, checkpoints,
                                    stop, progress);
      std::lock_guard<std::mutex> lock(engine_->mu_);
      if (!result.ok() || result->stopped) return result;
      engine_->deltas_[config.round] = result->delta;
      engine_->incoming_[config.round] = adapter.values;
      engine_->corrections_[config.round].assign(config.correction.begin(),
                                                 config.correction.end());
      engine_->losses_.push_back(result->first_loss);
      engine_->losses_.push_back(result->last_loss);
      return result;
    }

   private:
    RecordingEngine* const engine_;
    const std::unique_ptr<Trainer> trainer_;
  };

  mutable std::mutex mu_;
  std::map<int64_t, ParameterVector> deltas_;       // guarded by mu_
  std::map<int64_t, ParameterVector> corrections_;  // guarded by mu_
  std::map<int64_t, ParameterVector> incoming_;     // guarded by mu_
  ParameterVector evaluated_;                       // guarded by mu_
  std::vector<double> losses_;                      // guarded by mu_
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_RECORDING_ENGINE_H_
