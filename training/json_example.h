#ifndef EDGETUNE_TRAINING_JSON_EXAMPLE_H_
#define EDGETUNE_TRAINING_JSON_EXAMPLE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/chat_template.h"

namespace edgetune {

enum class TextSchema { kMessages, kPrompt, kText };

std::string_view NameOf(TextSchema schema);  // "messages", "prompt", "text"

// One line of a JSONL data file, its strings not yet tokenised. A plain value.
// kMessages, and kPrompt whose two parts are message lists: `messages`, of
// which the first `prompt_messages` are never labelled. Else `prompt` (empty
// for kText) and `completion`.
struct JsonExample {
  TextSchema schema = TextSchema::kText;
  std::vector<ChatMessage> messages;
  size_t prompt_messages = 0;
  std::string prompt, completion;
};

// The schema is found by the keys present unless `expected` names it; other
// keys are left alone. InvalidArgument says what is wrong with the line,
// never what stands in it.
absl::StatusOr<JsonExample> ParseJsonExample(
    std::string_view line, std::optional<TextSchema> expected);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_JSON_EXAMPLE_H_
