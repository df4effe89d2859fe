#include "tools/local/choice_scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr double kZ95 = 1.959963984540054;  // quantile 0.975 of the normal

}  // namespace

absl::StatusOr<ChoiceScores> ScoreChoices(LanguageModel& model,
                                          const ModelFile& file,
                                          const ChoiceQuestion& question) {
  ChoiceScores scores;
  scores.answer = question.answer;
  for (size_t i = 0; i < question.choices.size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(const LabelledTokens encoded,
                              EncodeChoice(file, question, i));
    const auto length = static_cast<int64_t>(encoded.tokens.size());
    if (length > file.config().context) {
      return Annotate(absl::InvalidArgumentError(fmt::format(
                          "{} tokens with a choice, the model takes {}", length,
                          file.config().context)),
                      ErrorKind::kData);
    }
    EDGETUNE_ASSIGN_OR_RETURN(const std::vector<float> each,
                              model.ScoreTokens(encoded.tokens));
    double sum = 0;
    int64_t tokens = 0;
    for (size_t t = 1; t < encoded.tokens.size(); ++t) {
      if (encoded.labelled[t] == 0) continue;
      sum += each[t - 1];
      ++tokens;
    }
    scores.log_probabilities.push_back(sum);
    scores.tokens.push_back(tokens);
    scores.bytes.push_back(static_cast<int64_t>(question.choices[i].size()));
  }
  return scores;
}

const char* NameOf(ChoiceNorm norm) {
  switch (norm) {
    case ChoiceNorm::kSum:
      return "sum";
    case ChoiceNorm::kToken:
      return "per_token";
    case ChoiceNorm::kByte:
      return "per_byte";
  }
  return "?";
}

size_t BestChoice(const ChoiceScores& scores, ChoiceNorm norm) {
  std::vector<double> values = scores.log_probabilities;
  for (size_t i = 0; i < values.size(); ++i) {
    if (norm == ChoiceNorm::kToken) {
      values[i] /= static_cast<double>(scores.tokens[i]);
    } else if (norm == ChoiceNorm::kByte) {
      values[i] /= static_cast<double>(scores.bytes[i]);
    }
  }
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

std::pair<double, double> WilsonInterval(int64_t hits, int64_t n) {
  const auto count = static_cast<double>(n);
  const double p = static_cast<double>(hits) / count;
  const double z2 = kZ95 * kZ95;
  const double middle = (p + z2 / (2 * count)) / (1 + z2 / count);
  const double half = kZ95 / (1 + z2 / count) *
                      std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

}  // namespace edgetune
