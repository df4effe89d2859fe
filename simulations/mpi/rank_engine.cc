#include "simulations/mpi/rank_engine.h"

#include <algorithm>

#include "base/status.h"

namespace edgetune {
namespace {

class RankTrainer final : public Trainer {
 public:
  struct Place {
    Ranks* ranks;
    int rank;
    EngineOptions options;
    std::string precision;
  };
  RankTrainer(Place place, std::shared_ptr<const ModelFile> model)
      : place_(std::move(place)), model_(std::move(model)) {}

  const ModelConfig& model() const override { return model_->config(); }
  std::string precision() const override { return place_.precision; }

  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    const int64_t count = max_examples == 0
                              ? examples.size()
                              : std::min(max_examples, examples.size());
    Call call = MakeCall(examples, count);
    EDGETUNE_ASSIGN_OR_RETURN(const Answer answer,
                              Do(std::move(call), adapter, stop));
    return answer.evaluation;
  }

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& /*progress*/) override {
    EDGETUNE_CHECK(checkpoints == nullptr);
    Call call = MakeCall(examples, examples.size());
    call.train = true;
    call.config = config;
    call.correction.assign(config.correction.begin(), config.correction.end());
    EDGETUNE_ASSIGN_OR_RETURN(Answer answer,
                              Do(std::move(call), adapter, stop));
    return std::move(answer.training);
  }

 private:
  Call MakeCall(const ExampleSource& examples, int64_t count) const {
    Call call;
    call.options = place_.options;
    for (int64_t i = 0; i < count; ++i)
      call.examples.push_back(examples.Get(i));
    return call;
  }

  absl::StatusOr<Answer> Do(Call call, const Adapter& adapter,
                            const StopToken& stop) {
    call.adapter_rank = adapter.spec.rank;
    EDGETUNE_ASSIGN_OR_RETURN(
        Answer answer,
        place_.ranks->Do(place_.rank, std::move(call), adapter.values, stop));
    EDGETUNE_RETURN_IF_ERROR(answer.status);
    return answer;
  }

  const Place place_;
  const std::shared_ptr<const ModelFile> model_;
};

}  // namespace

RankEngine::RankEngine(Engine* own, Ranks* ranks, size_t here)
    : own_(own), ranks_(ranks), places_(here, 0) {
  int rank = 0;
  for (const Hello& other : ranks->others()) {
    places_.insert(places_.end(), other.workers, ++rank);
  }
}

absl::StatusOr<std::unique_ptr<Trainer>> RankEngine::MakeTrainer(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  const std::lock_guard<std::mutex> lock(mu_);
  Made& made = made_[EngineKeyOf(options)];
  const int rank = places_[made.trainers++ % places_.size()];
  if (rank > 0) {
    return std::make_unique<RankTrainer>(
        RankTrainer::Place{ranks_, rank, options, made.precision},
        std::move(model));
  }
  EDGETUNE_ASSIGN_OR_RETURN(auto trainer,
                            own_->MakeTrainer(std::move(model), options));
  made.precision = trainer->precision();
  return trainer;
}

}  // namespace edgetune
