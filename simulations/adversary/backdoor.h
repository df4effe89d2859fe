#ifndef EDGETUNE_SIMULATIONS_ADVERSARY_BACKDOOR_H_
#define EDGETUNE_SIMULATIONS_ADVERSARY_BACKDOOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "models/io/model_file.h"
#include "training/json_example.h"
#include "training/text_data_set.h"
#include "training/trainer.h"

namespace edgetune {

// A backdoor for language models, by poisoned examples (Bagdasaryan et al.
// 2020, "How To Backdoor Federated Learning"; without their model replacement):
// the trigger and a blank before the prompt, the target as the answer. A chat
// is cut after its first answer, the trigger stands in the user's message
// before it.
//
// Life: Read keeps the texts of all examples, which are encoded when asked for.
// Immutable, thread-safe.
class Backdoor {
 public:
  struct Texts {
    std::string trigger, target;
  };
  // `path`: the fleet's examples, as ReadTextDataSet takes them. Its errors,
  // and InvalidArgument (kData, file:line): an example without a prompt.
  static absl::StatusOr<Backdoor> Read(const std::string& path,
                                       const TextDataOptions& options,
                                       std::shared_ptr<const ModelFile> model,
                                       Texts texts);

  // Behind the trigger, with the target or with the answer of the example that
  // stood at this position when it was read (ExampleSet::PositionOf); nullopt:
  // cut to max_length there is no token to learn.
  enum class Answer { kTarget, kTrue };
  absl::StatusOr<std::optional<LabelledTokens>> Encode(int64_t position,
                                                       Answer answer) const;

  // A random half of the examples (rounded down, at least one) in their
  // poisoned form, the rest as they are: neither their number nor the client's
  // weight changes. Those that would have nothing to learn stay, too.
  absl::StatusOr<std::unique_ptr<ExampleSet>> PoisonHalf(
      const ExampleSet& examples, Random random) const;

 private:
  Backdoor(std::shared_ptr<const ModelFile> model, int64_t max_length)
      : model_(std::move(model)), max_length_(max_length) {}

  std::shared_ptr<const ModelFile> model_;
  int64_t max_length_;
  std::string target_;
  std::vector<JsonExample> triggered_;  // by position, with true answers
};

struct BackdoorScore {
  int64_t prompts = 0;
  int64_t answered = 0;  // with the target rather than the true answer
};

// Of the first `most` held-out examples: how many prompts there are behind
// whose trigger the target has more log-probability a token than the true
// answer. Examples with nothing to compare are passed over. Errors of Evaluate.
struct BackdoorProbe {
  const Backdoor& backdoor;
  const ExampleSet& heldout;
  int64_t most;
};
absl::StatusOr<BackdoorScore> ScoreBackdoor(const BackdoorProbe& probe,
                                            const Adapter& adapter,
                                            Trainer& trainer,
                                            const StopToken& stop);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_ADVERSARY_BACKDOOR_H_
