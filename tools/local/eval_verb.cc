#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tools/child_process.h"
#include "tools/local/eval_choices.h"
#include "tools/local/scoring.h"
#include "tools/progress.h"
#include "tools/verbs.h"
#include "training/choice_question.h"
#include "training/text_data_set.h"

namespace edgetune {
namespace {

struct EvalOptions {
  ScoringOptions scoring;
  std::string data, per_token, per_question;
  TextDataOptions text;
  int64_t max_examples = 0;
};

// One line a token: {"example","id","text","logprob","labelled"}; the logprob
// of an example's first token is null.
class TokenLines {
 public:
  TokenLines(const std::string& path, const Tokenizer& tokenizer)
      : path_(path), tokenizer_(tokenizer) {}

  absl::Status Open() {
    if (path_ == "-") return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(file_, AtomicFile::Create(path_));
    return absl::OkStatus();
  }

  absl::Status Add(const TokenScore& score) {
    using Json = nlohmann::ordered_json;
    const std::string line =
        Json{{"example", score.example},
             {"id", score.id},
             {"text", tokenizer_.Decode({&score.id, 1}, true)},
             {"logprob", score.log_probability},
             {"labelled", score.labelled}}
            .dump(-1, ' ', false, Json::error_handler_t::replace) +
        "\n";
    if (file_ != nullptr) return file_->Append(line);
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) {
      return ErrnoStatus(errno, "cannot write", "standard output");
    }
    return absl::OkStatus();
  }

  absl::Status Close() {
    if (file_ != nullptr) return file_->Commit();
    if (std::fflush(stdout) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "cannot write", "standard output");
  }

 private:
  const std::string path_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<AtomicFile> file_;
};

absl::StatusOr<Evaluation> Score(ScoringModel& model, bool tuned,
                                 const ExampleSet& data,
                                 const EvalOptions& options, TokenLines* lines,
                                 const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(tuned));
  const int64_t count = options.max_examples > 0
                            ? std::min(options.max_examples, data.size())
                            : data.size();
  Progress progress(output, tuned ? "score tuned" : "score base", count,
                    Progress::Unit::kCount);
  std::function<absl::Status(const TokenScore&)> on_token;
  if (lines != nullptr) {
    on_token = [lines](const TokenScore& score) { return lines->Add(score); };
  }
  return ScoreExamples(*model.model, data, count, on_token,
                       [&](int64_t done) { progress.Update(done); });
}

nlohmann::json ReportJson(const DataReport& report) {
  return {{"schema", report.schema},
          {"examples", report.examples},
          {"truncated", report.truncated},
          {"label_less", report.label_less},
          {"specials_in_content", report.specials_in_content}};
}

absl::Status Finish(const EvalOptions& options, const nlohmann::json& data,
                    const Output& output) {
  std::string text;
  if (data.contains("base_perplexity")) {
    text = fmt::format("base perplexity  {:.4f}\ntuned perplexity {:.4f}\n",
                       data["base_perplexity"].get<double>(),
                       data["perplexity"].get<double>());
  } else {
    text = fmt::format("perplexity {:.4f}\n", data["perplexity"].get<double>());
  }
  text += fmt::format("over {} labelled tokens of {}\n",
                      data["tokens"].get<int64_t>(), options.data);
  if (options.per_token != "-") return output.Finish(data, text);
  output.Note(text);  // stdout holds the tokens
  return absl::OkStatus();
}

absl::Status EvaluateQuestions(const EvalOptions& options,
                               const Output& output) {
  if (!options.per_token.empty()) {
    return Annotate(
        absl::InvalidArgumentError("--per-token is of no use with questions"),
        ErrorKind::kUsage, "--per-question FILE lists scores");
  }
  return EvaluateChoices(
      options.scoring,
      {options.data, options.per_question, options.max_examples}, output);
}

absl::Status Evaluate(const EvalOptions& options, const Output& output) {
  CatchInterrupts();
  if (HoldsChoiceQuestions(options.data)) {
    return EvaluateQuestions(options, output);
  }
  if (!options.per_question.empty()) {
    return Annotate(absl::InvalidArgumentError(
                        options.data + ": no questions with \"choices\""),
                    ErrorKind::kUsage, "--per-token FILE lists tokens");
  }
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel model,
                            OpenForScoring(options.scoring));
  TextDataOptions text = options.text;
  text.max_length = std::min(text.max_length, model.file->config().context);
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<ExampleSet> data,
                            ReadTextDataSet(options.data, *model.file, text));
  output.Note(fmt::format("{} examples of the schema {}{}", data->size(),
                          data->report().schema, RemarksOf(data->report())));
  EDGETUNE_RETURN_IF_ERROR(StartEngine(options.scoring, model));
  nlohmann::json result = {{"data", ReportJson(data->report())}};
  const bool tuned = model.adapter.has_value();
  if (tuned) {
    EDGETUNE_ASSIGN_OR_RETURN(
        Evaluation base, Score(model, false, *data, options, nullptr, output));
    result["base_perplexity"] = PerplexityOf(base);
    result["base_nll"] = base.nll_sum / static_cast<double>(base.tokens);
  }
  std::optional<TokenLines> lines;
  if (!options.per_token.empty()) {
    lines.emplace(options.per_token, model.file->tokenizer());
    EDGETUNE_RETURN_IF_ERROR(lines->Open());
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      Evaluation measured,
      Score(model, tuned, *data, options, lines ? &*lines : nullptr, output));
  if (lines) EDGETUNE_RETURN_IF_ERROR(lines->Close());
  result["perplexity"] = PerplexityOf(measured);
  result["nll"] = measured.nll_sum / static_cast<double>(measured.tokens);
  result["tokens"] = measured.tokens;
  return Finish(options, result, output);
}

}  // namespace

void AddEvalVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<EvalOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "eval",
              "Perplexity over the labelled tokens, or accuracy on "
              "multiple-choice questions, base against tuned",
              [options, &output] { return Evaluate(*options, output); });
  AddScoringOptions(*verb, options->scoring);
  verb->add_option("--data", options->data,
                   "Examples, or questions with \"choices\" and \"answer\"")
      ->required();
  verb->add_option("--per-token", options->per_token,
                   "File for one JSON line a token; - is stdout");
  verb->add_option("--per-question", options->per_question,
                   "File for one JSON line of scores a question");
  verb->add_option("--max-examples", options->max_examples, "0: all")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--max-length", options->text.max_length,
                   "Longest example in tokens (at most the context)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace edgetune
