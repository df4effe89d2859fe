#include "simulations/adversary/backdoor.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "training/example_encoder.h"
#include "training/example_files.h"

namespace edgetune {
namespace {

absl::Status NoPrompt() {
  return absl::InvalidArgumentError(
      "no prompt that the trigger of a backdoor could stand before");
}

// Cuts the chat after its first answer and puts the trigger before the user's
// message that it answers.
absl::Status TriggerChat(const std::string& trigger, JsonExample& example) {
  std::vector<ChatMessage>& messages = example.messages;
  const auto answer = std::find_if(
      messages.begin() + static_cast<std::ptrdiff_t>(example.prompt_messages),
      messages.end(), [](const auto& m) { return m.role == "assistant"; });
  if (answer == messages.end()) return NoPrompt();
  const auto prompt =
      std::find_if(std::make_reverse_iterator(answer), messages.rend(),
                   [](const auto& message) { return message.role == "user"; });
  if (prompt == messages.rend()) return NoPrompt();
  prompt->content = trigger + " " + prompt->content;
  messages.erase(answer + 1, messages.end());
  return absl::OkStatus();
}

absl::Status Trigger(const std::string& trigger, JsonExample& example) {
  if (!example.messages.empty()) return TriggerChat(trigger, example);
  if (example.schema == TextSchema::kText) return NoPrompt();
  example.prompt = trigger + " " + example.prompt;
  return absl::OkStatus();
}

class OneExample final : public ExampleSource {
 public:
  explicit OneExample(LabelledTokens example) : example_(std::move(example)) {}
  int64_t size() const override { return 1; }
  const LabelledTokens& Get(int64_t) const override { return example_; }

 private:
  const LabelledTokens example_;
};

absl::StatusOr<double> LossOf(LabelledTokens example, const Adapter& adapter,
                              Trainer& trainer, const StopToken& stop) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const Evaluation evaluation,
      trainer.Evaluate(adapter, OneExample(std::move(example)), 1, stop));
  return evaluation.nll_sum / static_cast<double>(evaluation.tokens);
}

}  // namespace

absl::StatusOr<Backdoor> Backdoor::Read(const std::string& path,
                                        const TextDataOptions& options,
                                        std::shared_ptr<const ModelFile> model,
                                        Texts texts) {
  Backdoor backdoor(std::move(model), options.max_length);
  backdoor.target_ = std::move(texts.target);
  EDGETUNE_ASSIGN_OR_RETURN(auto schema, SchemaNamed(options.schema));
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({path}));
  for (const std::string& file : files) {
    EDGETUNE_RETURN_IF_ERROR(ReadExamples(
        file, schema,
        [&](const ExampleLine& line) {
          JsonExample& example = backdoor.triggered_.emplace_back(line.example);
          return Trigger(texts.trigger, example);
        },
        nullptr));
  }
  return backdoor;
}

absl::StatusOr<std::optional<LabelledTokens>> Backdoor::Encode(
    int64_t position, Answer answer) const {
  JsonExample example = triggered_[static_cast<size_t>(position)];
  if (answer == Answer::kTarget) {
    (example.messages.empty() ? example.completion
                              : example.messages.back().content) = target_;
  }
  EDGETUNE_ASSIGN_OR_RETURN(LabelledTokens tokens,
                            EncodeExample(*model_, example));
  const size_t size =
      std::min(tokens.tokens.size(), static_cast<size_t>(max_length_));
  tokens.tokens.resize(size);
  tokens.labelled.resize(size);
  if (PredictedLabels(tokens) == 0) return std::nullopt;
  return tokens;
}

absl::StatusOr<std::unique_ptr<ExampleSet>> Backdoor::PoisonHalf(
    const ExampleSet& examples, Random random) const {
  std::vector<int64_t> order(static_cast<size_t>(examples.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  random.Shuffle(order);
  order.resize(std::max<size_t>(1, order.size() / 2));
  std::vector<LabelledTokens> mixed;
  for (int64_t i = 0; i < examples.size(); ++i) {
    mixed.push_back(examples.Get(i));
  }
  for (const int64_t i : order) {
    EDGETUNE_ASSIGN_OR_RETURN(auto poisoned,
                              Encode(examples.PositionOf(i), Answer::kTarget));
    if (poisoned.has_value()) {
      mixed[static_cast<size_t>(i)] = *std::move(poisoned);
    }
  }
  return examples.WithExamples(std::move(mixed));
}

absl::StatusOr<BackdoorScore> ScoreBackdoor(const BackdoorProbe& probe,
                                            const Adapter& adapter,
                                            Trainer& trainer,
                                            const StopToken& stop) {
  BackdoorScore score;
  const int64_t count = std::min(probe.most, probe.heldout.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = probe.heldout.PositionOf(i);
    EDGETUNE_ASSIGN_OR_RETURN(
        auto target,
        probe.backdoor.Encode(position, Backdoor::Answer::kTarget));
    EDGETUNE_ASSIGN_OR_RETURN(
        auto truth, probe.backdoor.Encode(position, Backdoor::Answer::kTrue));
    if (!target.has_value() || !truth.has_value()) continue;
    EDGETUNE_ASSIGN_OR_RETURN(
        const double of_target,
        LossOf(*std::move(target), adapter, trainer, stop));
    EDGETUNE_ASSIGN_OR_RETURN(
        const double of_truth,
        LossOf(*std::move(truth), adapter, trainer, stop));
    ++score.prompts;
    if (of_target < of_truth) ++score.answered;
  }
  return score;
}

}  // namespace edgetune
