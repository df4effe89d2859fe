#ifndef EDGETUNE_TOOLS_LOCAL_ANSWER_H_
#define EDGETUNE_TOOLS_LOCAL_ANSWER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/tokenizer.h"
#include "models/language_model.h"

namespace edgetune {

// Lets a text through as it comes, up to the first place where one of the
// strings begins; holds back only what may still become one. One thread.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings);

  // What can be shown now; nothing once stopped.
  std::string Push(std::string_view text);
  // What was held back, at the end of the text.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string> strings_;
  std::string held_;
  bool stopped_ = false;
};

struct ModelAnswer {
  std::vector<int32_t> tokens;
  std::string text;  // without what stopped it; UTF-8
  double first_token_seconds = 0;
  double seconds = 0;  // all of it
  // After the first; nullopt where fewer than two tokens, or less than a
  // millisecond for them, do not say.
  std::optional<double> TokensPerSecond() const;
  // "37 tokens, 12.3 tokens/s, the first after 0.42 s", without what is
  // unknown.
  std::string Figures() const;
};

struct AnswerOptions {
  GenerateOptions generate;        // stop_tokens included
  std::vector<std::string> stops;  // the answer ends before these
};

// The model's answer to `prompt`. `on_text` (may be empty) sees its text as it
// comes, whole characters only. Ctrl-C (Interrupted) ends it after the token at
// hand; that is no error.
absl::StatusOr<ModelAnswer> MakeAnswer(
    LanguageModel& model, const Tokenizer& tokenizer,
    std::span<const int32_t> prompt, const AnswerOptions& options,
    const std::function<void(const std::string&)>& on_text);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_ANSWER_H_
