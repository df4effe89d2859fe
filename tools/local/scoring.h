#ifndef EDGETUNE_TOOLS_LOCAL_SCORING_H_
#define EDGETUNE_TOOLS_LOCAL_SCORING_H_

// Base models and adapters opened for scoring and generation, as `eval`,
// `generate` and `demo` need them.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/language_model.h"
#include "training/example_source.h"
#include "training/trainer.h"

namespace CLI {
class App;
}

namespace edgetune {

struct ScoringOptions {
  std::string model;    // name or path
  std::string adapter;  // PEFT directory or GGUF; empty: none
  std::string precision = "auto";
  std::string engine = "auto";
  int64_t threads = 0;  // 0: OMP_NUM_THREADS, or all cores
};

// --model, --adapter, --precision, --engine and --threads. `options` must live
// as long as the verb.
void AddScoringOptions(CLI::App& verb, ScoringOptions& options);

// A model; the adapter read but not set yet. Life: OpenForScoring,
// StartEngine, then UseAdapter and calls of `model`. One thread.
struct ScoringModel {
  std::shared_ptr<const ModelFile> file;
  std::optional<Adapter> adapter;
  std::unique_ptr<LanguageModel> model;

  absl::Status UseAdapter(bool use) {
    return model->SetAdapter(use && adapter ? &*adapter : nullptr);
  }
};

// Opens and checks the files alone. kModel.
absl::StatusOr<ScoringModel> OpenForScoring(const ScoringOptions& options);
// Loads the engine (last, when all else is known to be right: the reference
// one takes a second and 160 MB) and makes the model. kFailed.
absl::Status StartEngine(const ScoringOptions& options, ScoringModel& opened);

struct TokenScore {
  int64_t example;
  int32_t id;
  double log_probability;  // NaN for an example's first token
  bool labelled;
};

// Sums over the labelled tokens of the first `max_examples` examples (all when
// 0). `on_token` (may be empty) sees every token; `on_example` (may be empty)
// is told how many are done.
absl::StatusOr<Evaluation> ScoreExamples(
    LanguageModel& model, const ExampleSource& examples, int64_t max_examples,
    const std::function<absl::Status(const TokenScore&)>& on_token,
    const std::function<void(int64_t)>& on_example);

// Tokens of a prompt: as a user's message in the chat template, or, raw, as
// they are.
absl::StatusOr<std::vector<int32_t>> EncodePrompt(const ModelFile& file,
                                                  const std::string& system,
                                                  const std::string& prompt,
                                                  bool raw);
// Tokens at which an answer ends: end of text, end of turn.
std::vector<int32_t> StopTokens(const ModelFile& model);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_SCORING_H_
