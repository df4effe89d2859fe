#include "simulations/fleet/recorded_trainer.h"

#include <cstring>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/status.h"
#include "training/checkpoint.h"

namespace edgetune {
namespace {

// Of a TrainResult, before its delta.
struct TrainHead {
  double first_loss, last_loss, seconds;
  int64_t steps, resumed, tokens;
};
static_assert(std::is_trivially_copyable_v<TrainHead>);
static_assert(std::is_trivially_copyable_v<Evaluation>);

std::string Format(const TrainResult& result) {
  const TrainHead head = {result.first_loss, result.last_loss, result.seconds,
                          result.steps,      result.resumed,   result.tokens};
  const size_t bytes = result.delta.size() * sizeof(float);
  std::string text;
  text.reserve(sizeof(head) + bytes);
  text.append(reinterpret_cast<const char*>(&head), sizeof(head));
  text.append(reinterpret_cast<const char*>(result.delta.data()), bytes);
  return text;
}

// Of as many bytes as Format makes of the layout that was trained.
TrainResult ParseResult(std::string_view text) {
  TrainHead head;
  std::memcpy(&head, text.data(), sizeof(head));
  text.remove_prefix(sizeof(head));
  TrainResult result;
  result.delta.resize(text.size() / sizeof(float));
  if (!text.empty()) {
    std::memcpy(result.delta.data(), text.data(), text.size());
  }
  result.first_loss = head.first_loss;
  result.last_loss = head.last_loss;
  result.seconds = head.seconds;
  result.steps = head.steps;
  result.resumed = head.resumed;
  result.tokens = head.tokens;
  return result;
}

class RecordedTrainer final : public Trainer {
 public:
  RecordedTrainer(std::unique_ptr<Trainer> trainer, std::string task,
                  StepJournal* journal)
      : trainer_(std::move(trainer)),
        task_(std::move(task)),
        journal_(journal) {}

  const ModelConfig& model() const override { return trainer_->model(); }
  std::string precision() const override { return trainer_->precision(); }

  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    const Digest key = ScoringDigest({.engine = precision(),
                                      .adapter = adapter,
                                      .examples = examples,
                                      .max_examples = max_examples},
                                     task_);
    Evaluation evaluation;
    if (const auto kept = journal_->Find(key);
        kept.has_value() && kept->size() == sizeof(evaluation)) {
      std::memcpy(&evaluation, kept->data(), sizeof(evaluation));
      return evaluation;
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        evaluation, trainer_->Evaluate(adapter, examples, max_examples, stop));
    journal_->Add(
        key, {reinterpret_cast<const char*>(&evaluation), sizeof(evaluation)});
    return evaluation;
  }

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override {
    if (config.profile) {
      return trainer_->Train(adapter, examples, config, checkpoints, stop,
                             progress);
    }
    const Digest key = SegmentDigest({.engine = precision(),
                                      .model = model(),
                                      .adapter = adapter,
                                      .examples = examples,
                                      .config = config},
                                     task_);
    const size_t bytes =
        sizeof(TrainHead) +
        TrainedLayout(adapter.layout, config).size() * sizeof(float);
    if (const auto kept = journal_->Find(key);
        kept.has_value() && kept->size() == bytes) {
      return ParseResult(*kept);
    }
    EDGETUNE_ASSIGN_OR_RETURN(TrainResult result,
                              trainer_->Train(adapter, examples, config,
                                              checkpoints, stop, progress));
    if (!result.stopped) journal_->Add(key, Format(result));
    return result;
  }

 private:
  const std::unique_ptr<Trainer> trainer_;
  const std::string task_;
  StepJournal* const journal_;
};

}  // namespace

std::unique_ptr<Trainer> MakeRecordedTrainer(std::unique_ptr<Trainer> trainer,
                                             std::string task,
                                             StepJournal* journal) {
  return std::make_unique<RecordedTrainer>(std::move(trainer), std::move(task),
                                           journal);
}

}  // namespace edgetune
