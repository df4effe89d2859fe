#include "tools/local/eval_choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "tools/child_process.h"
#include "tools/local/choice_scoring.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

using Json = nlohmann::ordered_json;
using AllScores = std::vector<ChoiceScores>;

absl::StatusOr<AllScores> Score(ScoringModel& model, bool tuned,
                                const std::vector<ChoiceQuestion>& questions,
                                const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(tuned));
  Progress progress(output, tuned ? "score tuned" : "score base",
                    questions.size(), Progress::Unit::kCount);
  AllScores all;
  for (const ChoiceQuestion& question : questions) {
    if (Interrupted()) return InterruptedError();
    auto scores = ScoreChoices(*model.model, *model.file, question);
    if (!scores.ok()) {
      return Annotate(
          Prefix(scores.status(), fmt::format("question {}", all.size() + 1)),
          ErrorKind::kData);
    }
    all.push_back(*std::move(scores));
    progress.Update(all.size());
  }
  return all;
}

bool IsRight(const ChoiceScores& scores, ChoiceNorm norm) {
  return BestChoice(scores, norm) == scores.answer;
}

int64_t CountRight(const AllScores& all, ChoiceNorm norm) {
  return std::ranges::count_if(
      all, [&](const ChoiceScores& scores) { return IsRight(scores, norm); });
}

nlohmann::json AccuracyJson(const AllScores& all) {
  nlohmann::json json;
  const auto n = static_cast<int64_t>(all.size());
  for (const ChoiceNorm norm : kChoiceNorms) {
    const int64_t right = CountRight(all, norm);
    const auto [low, high] = WilsonInterval(right, n);
    json[NameOf(norm)] = {
        {"right", right},
        {"accuracy", static_cast<double>(right) / static_cast<double>(n)},
        {"low", low},
        {"high", high}};
  }
  return json;
}

// How often only one of the two is right: what a tuning changed.
nlohmann::json ChangeJson(const AllScores& base, const AllScores& tuned) {
  nlohmann::json json;
  for (const ChoiceNorm norm : kChoiceNorms) {
    int64_t counts[2][2] = {};
    for (size_t i = 0; i < base.size(); ++i) {
      ++counts[IsRight(base[i], norm)][IsRight(tuned[i], norm)];
    }
    json[NameOf(norm)] = {{"both", counts[1][1]},
                          {"only_base", counts[1][0]},
                          {"only_tuned", counts[0][1]},
                          {"neither", counts[0][0]}};
  }
  return json;
}

absl::Status WriteScores(const std::string& path, const AllScores* base,
                         const AllScores& measured) {
  if (path.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path));
  for (size_t i = 0; i < measured.size(); ++i) {
    const ChoiceScores& scores = measured[i];
    Json line = {{"question", i},
                 {"answer", scores.answer},
                 {"logprobs", scores.log_probabilities},
                 {"tokens", scores.tokens},
                 {"bytes", scores.bytes}};
    if (base != nullptr) line["base_logprobs"] = (*base)[i].log_probabilities;
    EDGETUNE_RETURN_IF_ERROR(file->Append(line.dump() + "\n"));
  }
  return file->Commit();
}

std::string Cell(const nlohmann::json& accuracy) {
  return fmt::format("{:.1f} % [{:.1f}, {:.1f}]",
                     100 * accuracy["accuracy"].get<double>(),
                     100 * accuracy["low"].get<double>(),
                     100 * accuracy["high"].get<double>());
}

std::string Text(const nlohmann::json& data, const std::string& path) {
  const bool tuned = data.contains("base_accuracy");
  std::vector<std::vector<std::string>> rows = {{"log-probability"}};
  if (tuned) rows[0].push_back("base");
  rows[0].push_back(tuned ? "tuned" : "accuracy");
  if (tuned) {
    rows[0].insert(rows[0].end(), {"only base right", "only tuned right"});
  }
  for (const ChoiceNorm norm : kChoiceNorms) {
    const char* name = NameOf(norm);
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(name);
    std::replace(row[0].begin(), row[0].end(), '_', ' ');
    if (tuned) row.push_back(Cell(data["base_accuracy"][name]));
    row.push_back(Cell(data["accuracy"][name]));
    if (!tuned) continue;
    const auto& change = data["change"][name];
    for (const char* key : {"only_base", "only_tuned"}) {
      row.push_back(fmt::format("{}", change[key].get<int64_t>()));
    }
  }
  return FormatTable(rows, {3, 4}) +
         fmt::format("over {} questions of {}, 95 % intervals\n",
                     data["questions"].get<size_t>(), path);
}

}  // namespace

absl::Status EvaluateChoices(const ScoringOptions& scoring,
                             const EvalChoicesOptions& options,
                             const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel model, OpenForScoring(scoring));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<ChoiceQuestion> questions,
                            ReadChoiceQuestions(options.data));
  if (options.max_questions > 0 &&
      questions.size() > static_cast<size_t>(options.max_questions)) {
    questions.resize(static_cast<size_t>(options.max_questions));
  }
  EDGETUNE_RETURN_IF_ERROR(StartEngine(scoring, model));
  const bool tuned = model.adapter.has_value();
  nlohmann::json data = {{"questions", questions.size()}};
  AllScores base;
  if (tuned) {
    EDGETUNE_ASSIGN_OR_RETURN(base, Score(model, false, questions, output));
    data["base_accuracy"] = AccuracyJson(base);
  }
  EDGETUNE_ASSIGN_OR_RETURN(const AllScores measured,
                            Score(model, tuned, questions, output));
  data["accuracy"] = AccuracyJson(measured);
  if (tuned) data["change"] = ChangeJson(base, measured);
  EDGETUNE_RETURN_IF_ERROR(
      WriteScores(options.per_question, tuned ? &base : nullptr, measured));
  return output.Finish(data, Text(data, options.data));
}

}  // namespace edgetune
