#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/process_memory.h"
#include "base/status.h"
#include "tools/child_process.h"
#include "tools/local/latency.h"
#include "tools/local/scoring.h"
#include "tools/own_process.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct LatencyVerbOptions {
  ScoringOptions scoring;
  std::vector<int64_t> prompts = {16, 128, 512};
  LatencyOptions latency;
};

absl::Status CheckPrompts(const LatencyVerbOptions& options,
                          const ModelConfig& config) {
  for (const int64_t prompt : options.prompts) {
    if (prompt <= config.context - options.latency.tokens) continue;
    return UsageError(
        fmt::format("--prompts {} and --tokens {}: more than the model's "
                    "context of {} tokens",
                    prompt, options.latency.tokens, config.context),
        "name shorter ones");
  }
  if (options.latency.repeat < config.vocab) return absl::OkStatus();
  return UsageError(fmt::format(
      "--repeat {}: wanted below {}, the tokens that prompts can begin with",
      options.latency.repeat, config.vocab));
}

// One prompt length, in this process.
absl::StatusOr<nlohmann::json> MeasureHere(const LatencyVerbOptions& options,
                                           ScoringModel& model) {
  EDGETUNE_RETURN_IF_ERROR(StartEngine(options.scoring, model));
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(true));
  LatencyOptions latency = options.latency;
  latency.prompt = options.prompts.front();
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto runs,
      MeasureLatency(*model.model, model.file->config().vocab, latency));
  return LatencyJson(latency, runs, PeakResidentBytes());
}

// One prompt length, in a process of its own, whose highest memory is then that
// of this length alone.
absl::StatusOr<nlohmann::json> MeasureInChild(const LatencyVerbOptions& options,
                                              int64_t prompt) {
  const ScoringOptions& scoring = options.scoring;
  std::vector<std::string> arguments = {
      "bench",       "latency",
      "--model",     scoring.model,
      "--engine",    scoring.engine,
      "--precision", scoring.precision,
      "--threads",   fmt::format("{}", scoring.threads),
      "--prompts",   fmt::format("{}", prompt),
      "--tokens",    fmt::format("{}", options.latency.tokens),
      "--repeat",    fmt::format("{}", options.latency.repeat)};
  if (!scoring.adapter.empty()) {
    arguments.insert(arguments.end(), {"--adapter", scoring.adapter});
  }
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json data,
                            AskThisProgram(std::move(arguments)));
  return data["prompts"][0];
}

absl::StatusOr<nlohmann::json> MeasureAll(const LatencyVerbOptions& options,
                                          const Output& output) {
  nlohmann::json all = nlohmann::json::array();
  for (const int64_t prompt : options.prompts) {
    output.Note(fmt::format("prompts of {} tokens ...", prompt));
    EDGETUNE_ASSIGN_OR_RETURN(nlohmann::json one,
                              MeasureInChild(options, prompt));
    all.push_back(std::move(one));
  }
  return all;
}

absl::Status BenchLatency(const LatencyVerbOptions& options,
                          const Output& output) {
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel model,
                            OpenForScoring(options.scoring));
  EDGETUNE_RETURN_IF_ERROR(CheckPrompts(options, model.file->config()));
  nlohmann::json prompts = nlohmann::json::array();
  if (options.prompts.size() == 1) {
    EDGETUNE_ASSIGN_OR_RETURN(auto one, MeasureHere(options, model));
    prompts.push_back(std::move(one));
  } else {
    EDGETUNE_ASSIGN_OR_RETURN(prompts, MeasureAll(options, output));
  }
  const nlohmann::json data = {{"model", options.scoring.model},
                               {"adapter", options.scoring.adapter},
                               {"engine", options.scoring.engine},
                               {"precision", options.scoring.precision},
                               {"threads", options.scoring.threads},
                               {"tokens", options.latency.tokens},
                               {"repeat", options.latency.repeat},
                               {"prompts", prompts}};
  return output.Finish(data, LatencyTable(prompts));
}

}  // namespace

void AddBenchVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "bench", "Measure this machine");
  const Output& output = invocation.output;
  auto options = std::make_shared<LatencyVerbOptions>();
  CLI::App* verb = AddVerb(
      *group, invocation, "latency",
      "Time to the first token, tokens a second and memory, by prompt length",
      [options, &output] { return BenchLatency(*options, output); });
  AddScoringOptions(*verb, options->scoring);
  verb->add_option("--prompts", options->prompts,
                   "Lengths of prompts in tokens, with commas; each in a "
                   "process of its own")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--tokens", options->latency.tokens, "Of each answer")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  verb->add_option("--repeat", options->latency.repeat,
                   "Prompts of each length, after one that is not counted")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
}

}  // namespace edgetune
