#ifndef EDGETUNE_MODELS_LANGUAGE_MODEL_H_
#define EDGETUNE_MODELS_LANGUAGE_MODEL_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune {

struct GenerateOptions {
  int64_t max_tokens = 128;
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // 1: all
  // Of tokens that stand in the prompt or the answer already; 1: none.
  double repeat_penalty = 1;
  uint64_t seed = 1;
  std::vector<int32_t> stop_tokens;  // generation ends before these
};

// A base model, with or without one adapter, ready to score and to generate.
// One instance belongs to one thread at a time. Sequences longer than the
// model's context are InvalidArgument. NextLogits and Generate may keep what
// they computed for a text and use it again for one that begins alike, as the
// turns of a chat do: never more than one context of it, never to be seen in a
// result.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  // Uses this adapter from now on; nullptr: the base alone. InvalidArgument:
  // the layout is not one of this model.
  virtual absl::Status SetAdapter(const Adapter* adapter) = 0;

  // Natural-log probabilities of ids[1..n) each given its prefix: n-1 values.
  virtual absl::StatusOr<std::vector<float>> ScoreTokens(
      std::span<const int32_t> ids) = 0;

  // Logits [V] for the token after `ids`.
  virtual absl::StatusOr<std::vector<float>> NextLogits(
      std::span<const int32_t> ids) = 0;

  // Tokens after `prompt`, with a key/value cache. on_token (may be empty)
  // sees each as it comes and ends generation by returning false.
  virtual absl::StatusOr<std::vector<int32_t>> Generate(
      std::span<const int32_t> prompt, const GenerateOptions& options,
      const std::function<bool(int32_t)>& on_token) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_LANGUAGE_MODEL_H_
