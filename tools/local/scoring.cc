#include "tools/local/scoring.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "tools/child_process.h"
#include "tools/model/model_path.h"
#include "training/engine_loader.h"
#include "training/parse.h"

namespace edgetune {

void AddScoringOptions(CLI::App& verb, ScoringOptions& options) {
  verb.add_option("--model", options.model, "Name or GGUF file")->required();
  verb.add_option("--adapter", options.adapter, "PEFT directory or LoRA GGUF");
  verb.add_option("--engine", options.engine,
                  "auto, fused (the fast one) or reference (LibTorch)")
      ->check(CLI::IsMember({"auto", "fused", "reference"}))
      ->capture_default_str();
  verb.add_option("--precision", options.precision, "auto, fp32, bf16 or int8")
      ->capture_default_str();
  verb.add_option("--threads", options.threads,
                  "0: OMP_NUM_THREADS, or all cores")
      ->check(CLI::NonNegativeNumber);
}

absl::StatusOr<ScoringModel> OpenForScoring(const ScoringOptions& options) {
  ScoringModel opened;
  EDGETUNE_RETURN_IF_ERROR(ParsePrecision(options.precision));
  EDGETUNE_ASSIGN_OR_RETURN(opened.file, OpenModel(options.model));
  if (!options.adapter.empty()) {
    absl::StatusOr<Adapter> adapter =
        ReadAdapter(options.adapter, opened.file->config());
    if (!adapter.ok()) {
      return Annotate(adapter.status(), ErrorKind::kModel,
                      "wanted a PEFT directory or a llama.cpp LoRA file of "
                      "this base model");
    }
    opened.adapter = *std::move(adapter);
  }
  return opened;
}

absl::Status StartEngine(const ScoringOptions& options, ScoringModel& opened) {
  EngineOptions engine_options;
  engine_options.threads = static_cast<int>(options.threads);
  EDGETUNE_ASSIGN_OR_RETURN(engine_options.precision,
                            ParsePrecision(options.precision));
  EDGETUNE_ASSIGN_OR_RETURN(Engine * engine, LoadEngine(options.engine));
  EDGETUNE_ASSIGN_OR_RETURN(
      opened.model, engine->MakeLanguageModel(opened.file, engine_options));
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> ScoreExamples(
    LanguageModel& model, const ExampleSource& examples, int64_t max_examples,
    const std::function<absl::Status(const TokenScore&)>& on_token,
    const std::function<void(int64_t)>& on_example) {
  Evaluation sum;
  const int64_t count = max_examples > 0
                            ? std::min(max_examples, examples.size())
                            : examples.size();
  for (int64_t i = 0; i < count; ++i) {
    if (Interrupted()) return InterruptedError();
    const LabelledTokens& example = examples.Get(i);
    EDGETUNE_ASSIGN_OR_RETURN(std::vector<float> scores,
                              model.ScoreTokens(example.tokens));
    for (size_t t = 0; t < example.tokens.size(); ++t) {
      // Nothing predicts a first token.
      const bool scored = t > 0;
      const bool labelled = scored && example.labelled[t] != 0;
      const double score = scored ? scores[t - 1] : std::nan("");
      if (labelled) {
        sum.nll_sum -= score;
        ++sum.tokens;
      }
      if (!on_token) continue;
      EDGETUNE_RETURN_IF_ERROR(
          on_token({i, example.tokens[t], score, labelled}));
    }
    if (on_example) on_example(i + 1);
  }
  return sum;
}

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const ModelFile& file,
                                                  const std::string& system,
                                                  const std::string& prompt,
                                                  bool raw) {
  const Tokenizer& tokenizer = file.tokenizer();
  std::vector<int32_t> tokens;
  if (raw) {
    if (tokenizer.add_bos()) tokens.push_back(tokenizer.bos());
    const std::vector<int32_t> text = tokenizer.Encode(prompt, false);
    tokens.insert(tokens.end(), text.begin(), text.end());
  } else {
    std::vector<ChatMessage> messages;
    if (!system.empty()) messages.push_back({"system", system});
    messages.push_back({"user", prompt});
    absl::StatusOr<LabelledTokens> encoded =
        file.chat_template().Encode(tokenizer, messages, true);
    if (!encoded.ok()) {
      return Annotate(encoded.status(), ErrorKind::kModel,
                      "--raw continues the prompt without a chat template");
    }
    tokens = std::move(encoded->tokens);
  }
  if (!tokens.empty()) return tokens;
  return Annotate(
      absl::InvalidArgumentError("the prompt is empty: nothing to continue"),
      ErrorKind::kUsage, "give a text with --prompt");
}

std::vector<int32_t> StopTokens(const ModelFile& model) {
  const Tokenizer& tokenizer = model.tokenizer();
  std::vector<int32_t> stop = model.config().end_tokens;
  for (const int32_t id : {tokenizer.eos(), tokenizer.IdOf("<|im_end|>"),
                           tokenizer.IdOf("<|endoftext|>")}) {
    if (id >= 0 && std::find(stop.begin(), stop.end(), id) == stop.end()) {
      stop.push_back(id);
    }
  }
  return stop;
}

}  // namespace edgetune
