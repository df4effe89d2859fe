#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/scoring.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  ScoringOptions scoring;
  GenerateOptions generate;
  std::string prompt, system;
  bool raw = false;
  bool compare = false;
};

// Tokens after the prompt; with `stream` their text appears on stdout as it
// comes.
absl::StatusOr<std::vector<int32_t>> Generate(ScoringModel& model, bool tuned,
                                              std::span<const int32_t> prompt,
                                              const GenerateOptions& options,
                                              bool stream) {
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(tuned));
  Utf8Stream utf8;
  const Tokenizer& tokenizer = model.file->tokenizer();
  auto on_token = [&](int32_t id) {
    if (stream) {
      fmt::print("{}", utf8.Push(tokenizer.Decode({&id, 1})));
      std::fflush(stdout);
    }
    return !Interrupted();
  };
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                            model.model->Generate(prompt, options, on_token));
  if (stream) fmt::print("{}\n", utf8.Finish());
  return ids;
}

absl::Status Run(const Options& options, const Output& output) {
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel model,
                            OpenForScoring(options.scoring));
  EDGETUNE_ASSIGN_OR_RETURN(
      std::vector<int32_t> prompt,
      EncodePrompt(*model.file, options.system, options.prompt, options.raw));
  EDGETUNE_RETURN_IF_ERROR(StartEngine(options.scoring, model));
  const Tokenizer& tokenizer = model.file->tokenizer();
  GenerateOptions generate = options.generate;
  generate.stop_tokens = StopTokens(*model.file);
  const bool tuned = model.adapter.has_value();
  const bool terminal = !output.json() && IsTerminal(1);
  const bool compare = tuned && (options.compare || terminal);
  const bool stream = terminal && !compare;
  nlohmann::json data = {{"prompt_tokens", prompt}};
  std::string base_text;
  if (compare) {
    EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> base,
                              Generate(model, false, prompt, generate, false));
    base_text = tokenizer.Decode(base);
    data["base_tokens"] = base;
    data["base_text"] = base_text;
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                            Generate(model, tuned, prompt, generate, stream));
  if (stream) return absl::OkStatus();
  const std::string text = tokenizer.Decode(ids);
  data["tokens"] = ids;
  data["text"] = text;
  return output.Finish(data, compare ? SideBySide("base", base_text, "tuned",
                                                  text, TerminalWidth(1))
                                     : text);
}

void AddSamplingOptions(CLI::App& verb, GenerateOptions& generate) {
  verb.add_option("--max-tokens", generate.max_tokens, "Longest answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--temperature", generate.temperature, "0: greedy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--top-k", generate.top_k, "0: all")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--top-p", generate.top_p, "1: all")
      ->check(CLI::Range(0.0, 1.0));
  verb.add_option("--seed", generate.seed, "Of the sampling")
      ->capture_default_str();
}

}  // namespace

void AddGenerateVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, invocation, "generate",
              "Let the model answer, with and without an adapter",
              [options, &output] { return Run(*options, output); });
  AddScoringOptions(*verb, options->scoring);
  verb->add_option("--prompt", options->prompt, "What the user says")
      ->required();
  verb->add_option("--system", options->system,
                   "System message (default: the model's own)");
  verb->add_flag("--raw", options->raw,
                 "Continue the prompt as it is, without the chat template");
  verb->add_flag("--compare", options->compare,
                 "Base and tuned beside each other (default on a terminal)");
  AddSamplingOptions(*verb, options->generate);
}

}  // namespace edgetune
