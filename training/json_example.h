#ifndef EDGETUNE_TRAINING_JSON_EXAMPLE_H_
#define EDGETUNE_TRAINING_JSON_EXAMPLE_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/chat_template.h"

namespace edgetune {

enum class TextSchema { kMessages, kShareGpt, kPrompt, kAlpaca, kText };

inline constexpr TextSchema kTextSchemas[] = {
    TextSchema::kMessages, TextSchema::kShareGpt, TextSchema::kPrompt,
    TextSchema::kAlpaca, TextSchema::kText};

// "messages", "sharegpt", "prompt", "alpaca", "text".
std::string_view NameOf(TextSchema schema);

// One line of a JSONL data file, its strings not yet tokenised. A plain value.
// kMessages, kShareGpt, kAlpaca, and kPrompt whose two parts are message lists:
// `messages`, of which the first `prompt_messages` are never labelled. Else
// `prompt` (empty for kText) and `completion`.
struct JsonExample {
  TextSchema schema = TextSchema::kText;
  std::vector<ChatMessage> messages;
  size_t prompt_messages = 0;
  std::string prompt, completion;
};

// The schema is found by the keys present unless `expected` names it; other
// keys are left alone. Alpaca's instruction and input (where it is not empty)
// become one user message, a blank line between them. InvalidArgument says
// what is wrong with the line (a key twice, nesting deeper than 16 included),
// never what stands in it.
absl::StatusOr<JsonExample> ParseJsonExample(
    std::string_view line, std::optional<TextSchema> expected);

// A line's object, as strict as above; and the messages under `key` of one.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view line);
absl::StatusOr<std::vector<ChatMessage>> MessagesAt(
    const nlohmann::json& object, const char* key);
// The string under `key` of `object`, whose place in the line is `where`.
absl::StatusOr<std::string> TextAt(const nlohmann::json& object,
                                   const char* key, const std::string& where);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_JSON_EXAMPLE_H_
