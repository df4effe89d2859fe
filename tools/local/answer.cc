#include "tools/local/answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "tools/child_process.h"

namespace edgetune {

StopStrings::StopStrings(std::vector<std::string> strings)
    : strings_(std::move(strings)) {}

std::string StopStrings::Push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  size_t keep = held_.size();  // shown: [0, keep)
  for (const std::string& stop : strings_) {
    const size_t at = held_.find(stop);
    if (at != std::string::npos) {
      stopped_ = true;
      keep = std::min(keep, at);
    }
  }
  for (const std::string& stop : strings_) {
    if (stopped_) break;
    size_t length = std::min(stop.size() - 1, held_.size());
    while (length > 0 && !held_.ends_with(stop.substr(0, length))) --length;
    keep = std::min(keep, held_.size() - length);
  }
  std::string shown = held_.substr(0, keep);
  held_.erase(0, keep);
  return shown;
}

std::string StopStrings::Finish() {
  return stopped_ ? "" : std::exchange(held_, "");
}

std::optional<double> ModelAnswer::TokensPerSecond() const {
  const double rest = seconds - first_token_seconds;
  if (tokens.size() < 2 || rest < 1e-3) return std::nullopt;
  return static_cast<double>(tokens.size() - 1) / rest;
}

std::string ModelAnswer::Figures() const {
  if (tokens.empty()) return "no tokens";
  std::string text =
      fmt::format("{} token{}", tokens.size(), tokens.size() == 1 ? "" : "s");
  if (const std::optional<double> rate = TokensPerSecond()) {
    text += fmt::format(", {:.1f} tokens/s", *rate);
  }
  return text + fmt::format(", the first after {:.2f} s", first_token_seconds);
}

absl::StatusOr<ModelAnswer> MakeAnswer(
    LanguageModel& model, const Tokenizer& tokenizer,
    std::span<const int32_t> prompt, const AnswerOptions& options,
    const std::function<void(const std::string&)>& on_text) {
  ModelAnswer answer;
  Utf8Stream utf8;
  StopStrings stops(options.stops);
  const auto show = [&](const std::string& text) {
    answer.text += text;
    if (on_text && !text.empty()) on_text(text);
  };
  const absl::Time start = absl::Now();
  const auto elapsed = [&] {
    return absl::ToDoubleSeconds(absl::Now() - start);
  };
  bool first = true;
  const auto on_token = [&](int32_t id) {
    if (std::exchange(first, false)) answer.first_token_seconds = elapsed();
    show(stops.Push(utf8.Push(tokenizer.Decode({&id, 1}))));
    return !stops.stopped() && !Interrupted();
  };
  EDGETUNE_ASSIGN_OR_RETURN(answer.tokens,
                            model.Generate(prompt, options.generate, on_token));
  answer.seconds = elapsed();
  show(stops.Push(utf8.Finish()));
  show(stops.Finish());
  return answer;
}

}  // namespace edgetune
