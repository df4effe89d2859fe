#include "tools/local/latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "base/units.h"
#include "tools/child_process.h"
#include "tools/output.h"
#include "tools/percentile.h"

namespace edgetune {
namespace {

double SteadySeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::vector<int32_t> PromptOf(int64_t vocab, int64_t length, int64_t run) {
  Random random = Random(1).Split("prompt", static_cast<uint64_t>(run));
  std::vector<int32_t> prompt = {static_cast<int32_t>(run % vocab)};
  while (static_cast<int64_t>(prompt.size()) < length) {
    prompt.push_back(
        static_cast<int32_t>(random.Below(static_cast<uint64_t>(vocab))));
  }
  return prompt;
}

absl::StatusOr<LatencyRun> RunOnce(LanguageModel& model,
                                   const std::vector<int32_t>& prompt,
                                   int64_t tokens) {
  GenerateOptions generate;
  generate.max_tokens = tokens;
  std::vector<double> times;
  times.reserve(static_cast<size_t>(tokens));
  const double start = SteadySeconds();
  EDGETUNE_RETURN_IF_ERROR(model
                               .Generate(prompt, generate,
                                         [&](int32_t) {
                                           times.push_back(SteadySeconds());
                                           return !Interrupted();
                                         })
                               .status());
  if (Interrupted()) return InterruptedError();
  if (static_cast<int64_t>(times.size()) != tokens) {
    return absl::InternalError(
        fmt::format("an answer of {} tokens, wanted {}", times.size(), tokens));
  }
  LatencyRun run;
  run.first_token = times.front() - start;
  for (size_t i = 1; i < times.size(); ++i) {
    run.tokens.push_back(times[i] - times[i - 1]);
  }
  return run;
}

double MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  return Percentile(values, 50);
}

}  // namespace

absl::StatusOr<std::vector<LatencyRun>> MeasureLatency(
    LanguageModel& model, int64_t vocab, const LatencyOptions& options) {
  std::vector<LatencyRun> runs;
  for (int64_t i = 0; i <= options.repeat; ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        LatencyRun run,
        RunOnce(model, PromptOf(vocab, options.prompt, i), options.tokens));
    if (i > 0) runs.push_back(std::move(run));
  }
  return runs;
}

LatencyFigures FiguresOf(const LatencyOptions& options,
                         const std::vector<LatencyRun>& runs) {
  std::vector<double> firsts, rates, all;
  for (const LatencyRun& run : runs) {
    firsts.push_back(run.first_token);
    const double whole =
        std::accumulate(run.tokens.begin(), run.tokens.end(), 0.0);
    rates.push_back(static_cast<double>(run.tokens.size()) / whole);
    all.insert(all.end(), run.tokens.begin(), run.tokens.end());
  }
  std::ranges::sort(all);
  const double first = MedianOf(firsts);
  return {.first_token = first,
          .prompt_per_second = static_cast<double>(options.prompt) / first,
          .tokens_per_second = MedianOf(rates),
          .token_p50 = Percentile(all, 50),
          .token_p99 = Percentile(all, 99)};
}

nlohmann::json LatencyJson(const LatencyOptions& options,
                           const std::vector<LatencyRun>& runs,
                           uint64_t peak_bytes) {
  const LatencyFigures figures = FiguresOf(options, runs);
  nlohmann::json samples = nlohmann::json::array();
  for (const LatencyRun& run : runs) {
    samples.push_back(
        {{"first_token_s", run.first_token}, {"token_s", run.tokens}});
  }
  return {{"prompt_tokens", options.prompt},
          {"first_token_s", figures.first_token},
          {"prompt_tokens_per_s", figures.prompt_per_second},
          {"tokens_per_s", figures.tokens_per_second},
          {"token_p50_s", figures.token_p50},
          {"token_p99_s", figures.token_p99},
          {"peak_resident_bytes", peak_bytes},
          {"runs", samples}};
}

std::string LatencyTable(const nlohmann::json& prompts) {
  std::vector<std::vector<std::string>> rows = {
      {"prompt", "first token", "prompt tokens/s", "tokens/s", "token p50",
       "p99", "peak memory"}};
  const auto milliseconds = [](const nlohmann::json& seconds) {
    return fmt::format("{:.1f} ms", seconds.get<double>() * 1e3);
  };
  for (const nlohmann::json& one : prompts) {
    rows.push_back(
        {fmt::format("{}", one["prompt_tokens"].get<int64_t>()),
         milliseconds(one["first_token_s"]),
         fmt::format("{:.1f}", one["prompt_tokens_per_s"].get<double>()),
         fmt::format("{:.1f}", one["tokens_per_s"].get<double>()),
         milliseconds(one["token_p50_s"]), milliseconds(one["token_p99_s"]),
         FormatBytes(one["peak_resident_bytes"].get<uint64_t>())});
  }
  return FormatTable(rows, {0, 1, 2, 3, 4, 5, 6});
}

}  // namespace edgetune
