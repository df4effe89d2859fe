#ifndef EDGETUNE_TOOLS_LOCAL_LATENCY_H_
#define EDGETUNE_TOOLS_LOCAL_LATENCY_H_

// How long a model takes to read a prompt and to answer, from outside of its
// engine.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/language_model.h"

namespace edgetune {

struct LatencyOptions {
  int64_t prompt = 0;   // tokens
  int64_t tokens = 64;  // to generate, 2 at least
  int64_t repeat = 5;
};

// One prompt and its answer, in seconds of a clock that is never set.
struct LatencyRun {
  double first_token = 0;      // from the call to the first token
  std::vector<double> tokens;  // from each token to the next
};

// A run that is not counted, then `repeat` that are: greedy, without a token
// that ends them, over random prompts each of which begins with another token,
// so that nothing kept of one serves the next. `vocab` counts the model's
// tokens. kFailed: interrupted, or an answer that is too short.
absl::StatusOr<std::vector<LatencyRun>> MeasureLatency(
    LanguageModel& model, int64_t vocab, const LatencyOptions& options);

// What is told of them: medians over the runs, percentiles over all times from
// a token to the next (percentile.h).
struct LatencyFigures {
  double first_token = 0;               // seconds
  double prompt_per_second = 0;         // prompt tokens / first_token
  double tokens_per_second = 0;         // after the first
  double token_p50 = 0, token_p99 = 0;  // seconds
};
LatencyFigures FiguresOf(const LatencyOptions& options,
                         const std::vector<LatencyRun>& runs);

// Of one prompt length: figures, every sample, this process's memory.
nlohmann::json LatencyJson(const LatencyOptions& options,
                           const std::vector<LatencyRun>& runs,
                           uint64_t peak_bytes);
// A row for each of such objects.
std::string LatencyTable(const nlohmann::json& prompts);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_LATENCY_H_
