#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/local/answer.h"
#include "tools/local/chat.h"
#include "tools/local/scoring.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct GenerateVerbOptions {
  ScoringOptions scoring;
  AnswerOptions answer;
  std::string prompt, system;
  CLI::Option* prompt_option = nullptr;
  bool raw = false;
  bool compare = false;
  bool chat = false;
};

// With `stream` the text appears on stdout as it comes.
absl::StatusOr<ModelAnswer> Generate(ScoringModel& model, bool tuned,
                                     std::span<const int32_t> prompt,
                                     const AnswerOptions& options,
                                     bool stream) {
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(tuned));
  absl::Status written;
  std::function<void(const std::string&)> on_text;
  if (stream) {
    on_text = [&](const std::string& text) {
      written.Update(WriteAnswer(text));
    };
  }
  EDGETUNE_ASSIGN_OR_RETURN(ModelAnswer answer,
                            MakeAnswer(*model.model, model.file->tokenizer(),
                                       prompt, options, on_text));
  if (stream) written.Update(WriteAnswer("\n"));
  EDGETUNE_RETURN_IF_ERROR(written);
  return answer;
}

absl::Status AnswerOnce(const GenerateVerbOptions& options, ScoringModel& model,
                        std::span<const int32_t> prompt,
                        const AnswerOptions& answer, const Output& output) {
  const bool tuned = model.adapter.has_value();
  const bool terminal = !output.json() && IsTerminal(1);
  const bool compare = tuned && (options.compare || terminal);
  const bool stream = terminal && !compare;
  nlohmann::json data = {
      {"prompt_tokens", std::vector<int32_t>(prompt.begin(), prompt.end())}};
  ModelAnswer base;
  if (compare) {
    EDGETUNE_ASSIGN_OR_RETURN(base,
                              Generate(model, false, prompt, answer, false));
    data["base_tokens"] = base.tokens;
    data["base_text"] = base.text;
  }
  EDGETUNE_ASSIGN_OR_RETURN(const ModelAnswer made,
                            Generate(model, tuned, prompt, answer, stream));
  output.Note(made.Figures());
  if (stream) return absl::OkStatus();
  data["tokens"] = made.tokens;
  data["text"] = made.text;
  if (output.json()) return output.Finish(data, "");
  if (compare) {
    return output.Finish(data, SideBySide("base", base.text, "tuned", made.text,
                                          TerminalWidth(1)));
  }
  const bool complete = made.text.empty() || made.text.ends_with('\n');
  return WriteAnswer(complete ? made.text : made.text + "\n");
}

absl::Status CheckChat(const GenerateVerbOptions& options,
                       const Output& output) {
  const bool prompt = options.prompt_option->count() > 0;
  if (!prompt && !options.raw && !options.compare && !output.json()) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(
          "a chat takes none of --prompt, --raw, --compare, --format json"),
      ErrorKind::kUsage, "name one --prompt, or pipe one in, instead");
}

absl::Status RunGenerate(GenerateVerbOptions options, const Output& output) {
  CatchInterrupts();
  const bool asked = options.prompt_option->count() > 0;
  const bool chat = options.chat || (!asked && IsTerminal(0));
  if (chat) EDGETUNE_RETURN_IF_ERROR(CheckChat(options, output));
  for (const std::string& stop : options.answer.stops) {
    if (!stop.empty()) continue;
    return Annotate(absl::InvalidArgumentError("--stop must not be empty"),
                    ErrorKind::kUsage);
  }
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel model,
                            OpenForScoring(options.scoring));
  std::vector<int32_t> prompt;
  if (!chat) {
    if (!asked) {
      EDGETUNE_ASSIGN_OR_RETURN(options.prompt, ReadStdin());
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        prompt,
        EncodePrompt(*model.file, options.system, options.prompt, options.raw));
  }
  EDGETUNE_RETURN_IF_ERROR(StartEngine(options.scoring, model));
  AnswerOptions answer = options.answer;
  answer.generate.stop_tokens = StopTokens(*model.file);
  if (!chat) return AnswerOnce(options, model, prompt, answer, output);
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(true));
  return RunChat(model, options.system, answer, output);
}

void AddSamplingOptions(CLI::App& verb, AnswerOptions& answer) {
  GenerateOptions& generate = answer.generate;
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
  verb.add_option("--repeat-penalty", generate.repeat_penalty,
                  "Above 1: tokens of the prompt and the answer come up less")
      ->check(CLI::Range(0.1, 10.0))
      ->capture_default_str();
  verb.add_option("--stop", answer.stops,
                  "The answer ends before this string (may be repeated)")
      ->allow_extra_args(false);
  verb.add_option("--seed", generate.seed, "Of the sampling")
      ->capture_default_str();
}

}  // namespace

void AddGenerateVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<GenerateVerbOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "generate",
              "Let the model answer once or in a chat, with and without an "
              "adapter",
              [options, &output] { return RunGenerate(*options, output); });
  AddScoringOptions(*verb, options->scoring);
  options->prompt_option =
      verb->add_option("--prompt", options->prompt,
                       "What the user says (default: all of stdin, or on a "
                       "terminal a chat)");
  verb->add_flag("--chat", options->chat,
                 "Talk in turns on stdin and stdout; /help lists commands");
  verb->add_option("--system", options->system,
                   "System message (default: the model's own)");
  verb->add_flag("--raw", options->raw,
                 "Continue the prompt as it is, without the chat template");
  verb->add_flag("--compare", options->compare,
                 "Base and tuned beside each other (default on a terminal)");
  AddSamplingOptions(*verb, options->answer);
}

}  // namespace edgetune
