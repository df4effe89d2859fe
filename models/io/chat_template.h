#ifndef EDGETUNE_MODELS_IO_CHAT_TEMPLATE_H_
#define EDGETUNE_MODELS_IO_CHAT_TEMPLATE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// Tokens and, for each, whether loss is taken on predicting it. A text has two
// at least, of which the first is predicted by nothing. Where an image stands
// before them, that predicts the first: of an image to be classified there is
// that one alone, its class.
struct LabelledTokens {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> labelled;  // same length, 0 or 1
  // Channel by channel, row by row, 0 to 255; borrowed. Empty: a text.
  std::span<const uint8_t> image = {};
};

// ChatML, recognised in a model file's template text; nothing else is
// rendered (no Jinja engine). Immutable value, thread-safe.
class ChatTemplate {
 public:
  // Of a template that is not ChatML, or of none (an empty `source`), only the
  // source is kept: rendering then fails.
  static ChatTemplate Recognise(std::string_view source);

  // The text, with the generation prompt when asked for. FailedPrecondition
  // (kModel): none that can be rendered.
  absl::StatusOr<std::string> Render(std::span<const ChatMessage> messages,
                                     bool add_generation_prompt) const;
  // Rendered and encoded; a token is labelled when its bytes overlap an
  // assistant message's content or its closing <|im_end|>.  Special tokens
  // inside a message's content stay plain text.
  absl::StatusOr<LabelledTokens> Encode(const Tokenizer& tokenizer,
                                        std::span<const ChatMessage> messages,
                                        bool add_generation_prompt) const;

  // Whether it can be rendered.
  bool present() const { return present_; }
  const std::string& source() const { return source_; }
  const std::string& default_system() const { return default_system_; }

 private:
  absl::Status Check(std::span<const ChatMessage> messages) const;

  bool present_ = false;
  std::string source_;
  std::string default_system_;  // empty: no system message is added
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_CHAT_TEMPLATE_H_
