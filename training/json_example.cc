#include "training/json_example.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(what);
}

absl::StatusOr<json> ParseObject(std::string_view line) {
  try {
    json object = json::parse(line);
    if (object.is_object()) return object;
    return Wrong(fmt::format("not a JSON object but {}", object.type_name()));
  } catch (const json::exception& e) {
    const auto* parse = dynamic_cast<const json::parse_error*>(&e);
    return Wrong(fmt::format("not valid JSON (byte {} of the line)",
                             parse == nullptr ? 0 : parse->byte));
  }
}

// The string under `key` of `object`, whose place in the line is `where`.
absl::StatusOr<std::string> TextAt(const json& object, const char* key,
                                   const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return Wrong(fmt::format("{}has no \"{}\"", where, key));
  }
  if (!found->is_string()) {
    return Wrong(fmt::format("{}\"{}\" must be a string, got {}", where, key,
                             found->type_name()));
  }
  return found->get<std::string>();
}

absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const json& list,
                                                      const char* key) {
  if (!list.is_array() || list.empty()) {
    return Wrong(
        fmt::format("\"{}\" must be a list of messages, not empty", key));
  }
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}[{}]: ", key, i);
    if (!list[i].is_object()) return Wrong(where + "not an object");
    ChatMessage message;
    EDGETUNE_ASSIGN_OR_RETURN(message.role, TextAt(list[i], "role", where));
    if (message.role != "system" && message.role != "user" &&
        message.role != "assistant") {
      return Wrong(where + "role must be system, user or assistant");
    }
    EDGETUNE_ASSIGN_OR_RETURN(message.content,
                              TextAt(list[i], "content", where));
    messages.push_back(std::move(message));
  }
  return messages;
}

absl::StatusOr<TextSchema> SchemaOf(const json& object) {
  if (object.contains("messages")) return TextSchema::kMessages;
  if (object.contains("prompt")) return TextSchema::kPrompt;
  if (object.contains("text")) return TextSchema::kText;
  return Wrong(
      "has none of \"messages\", \"prompt\" (with \"completion\") and "
      "\"text\"");
}

absl::Status ReadPromptLists(const json& object, JsonExample* example) {
  const auto completion = object.find("completion");
  if (completion == object.end()) return Wrong("has no \"completion\"");
  EDGETUNE_ASSIGN_OR_RETURN(example->messages,
                            ReadMessages(object["prompt"], "prompt"));
  EDGETUNE_ASSIGN_OR_RETURN(auto answer,
                            ReadMessages(*completion, "completion"));
  example->prompt_messages = example->messages.size();
  for (ChatMessage& message : answer) {
    example->messages.push_back(std::move(message));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view NameOf(TextSchema schema) {
  switch (schema) {
    case TextSchema::kMessages:
      return "messages";
    case TextSchema::kPrompt:
      return "prompt";
    case TextSchema::kText:
      return "text";
  }
  return "?";
}

absl::StatusOr<JsonExample> ParseJsonExample(
    std::string_view line, std::optional<TextSchema> expected) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  JsonExample example;
  if (expected) {
    example.schema = *expected;
  } else {
    EDGETUNE_ASSIGN_OR_RETURN(example.schema, SchemaOf(object));
  }
  switch (example.schema) {
    case TextSchema::kMessages: {
      const auto list = object.find("messages");
      if (list == object.end()) return Wrong("has no \"messages\"");
      EDGETUNE_ASSIGN_OR_RETURN(example.messages,
                                ReadMessages(*list, "messages"));
      return example;
    }
    case TextSchema::kPrompt: {
      const auto prompt = object.find("prompt");
      if (prompt != object.end() && prompt->is_array()) {
        EDGETUNE_RETURN_IF_ERROR(ReadPromptLists(object, &example));
        return example;
      }
      EDGETUNE_ASSIGN_OR_RETURN(example.prompt, TextAt(object, "prompt", ""));
      EDGETUNE_ASSIGN_OR_RETURN(example.completion,
                                TextAt(object, "completion", ""));
      return example;
    }
    case TextSchema::kText:
      EDGETUNE_ASSIGN_OR_RETURN(example.completion, TextAt(object, "text", ""));
      return example;
  }
  return absl::InternalError("unknown schema");
}

}  // namespace edgetune
