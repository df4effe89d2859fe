#include "training/json_example.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;

absl::Status WrongLine(const std::string& what) {
  return absl::InvalidArgumentError(what);
}

// How a chat's list spells its parts.
struct MessageKeys {
  const char* role;
  const char* content;
  // {in the file, ours}
  std::pair<std::string_view, std::string_view> roles[3];
};

constexpr MessageKeys kMessageKeys = {
    "role",
    "content",
    {{"system", "system"}, {"user", "user"}, {"assistant", "assistant"}}};
constexpr MessageKeys kShareGptKeys = {
    "from",
    "value",
    {{"system", "system"}, {"human", "user"}, {"gpt", "assistant"}}};

// Roles that such files are known to hold; only these are named in an error.
constexpr std::string_view kKnownRoles[] = {
    "tool",        "function", "function_call", "function_response",
    "observation", "ipython",  "bing",          "bard",
    "chatgpt",     "user",     "assistant",     "human",
    "gpt",         "developer"};

absl::StatusOr<std::string> ReadRole(const json& message,
                                     const MessageKeys& keys,
                                     const std::string& where) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string given,
                            TextAt(message, keys.role, where));
  for (const auto& [theirs, ours] : keys.roles) {
    if (given == theirs) return std::string(ours);
  }
  const bool known = std::ranges::count(kKnownRoles, given) > 0;
  return WrongLine(fmt::format("{}{} must be {}, {} or {}{}", where, keys.role,
                               keys.roles[0].first, keys.roles[1].first,
                               keys.roles[2].first,
                               known ? ", got " + given : std::string()));
}

absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const json& object,
                                                      const char* key,
                                                      const MessageKeys& keys) {
  const auto list = object.find(key);
  if (list == object.end()) return WrongLine(fmt::format("has no \"{}\"", key));
  if (!list->is_array() || list->empty()) {
    return WrongLine(
        fmt::format("\"{}\" must be a list of messages, not empty", key));
  }
  std::vector<ChatMessage> messages;
  for (size_t i = 0; i < list->size(); ++i) {
    const json& item = (*list)[i];
    const std::string where = fmt::format("{}[{}]: ", key, i);
    if (!item.is_object()) return WrongLine(where + "not an object");
    ChatMessage message;
    EDGETUNE_ASSIGN_OR_RETURN(message.role, ReadRole(item, keys, where));
    EDGETUNE_ASSIGN_OR_RETURN(message.content,
                              TextAt(item, keys.content, where));
    messages.push_back(std::move(message));
  }
  return messages;
}

absl::StatusOr<TextSchema> SchemaOf(const json& object) {
  if (object.contains("messages")) return TextSchema::kMessages;
  if (object.contains("conversations")) return TextSchema::kShareGpt;
  if (object.contains("prompt")) return TextSchema::kPrompt;
  // Before "text": Alpaca's own file has that too, with all of it rendered.
  if (object.contains("instruction")) return TextSchema::kAlpaca;
  if (object.contains("text")) return TextSchema::kText;
  return WrongLine(
      "has none of \"messages\", \"conversations\", \"prompt\" (with "
      "\"completion\"), \"instruction\" (with \"output\") and \"text\"");
}

absl::Status ReadPrompt(const json& object, JsonExample* example) {
  const auto prompt = object.find("prompt");
  if (prompt == object.end() || !prompt->is_array()) {
    EDGETUNE_ASSIGN_OR_RETURN(example->prompt, TextAt(object, "prompt", ""));
    EDGETUNE_ASSIGN_OR_RETURN(example->completion,
                              TextAt(object, "completion", ""));
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(example->messages, MessagesAt(object, "prompt"));
  EDGETUNE_ASSIGN_OR_RETURN(auto answer, MessagesAt(object, "completion"));
  example->prompt_messages = example->messages.size();
  std::ranges::move(answer, std::back_inserter(example->messages));
  return absl::OkStatus();
}

absl::Status ReadAlpaca(const json& object, JsonExample* example) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string user,
                            TextAt(object, "instruction", ""));
  if (object.contains("input")) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::string input,
                              TextAt(object, "input", ""));
    if (!input.empty()) user += "\n\n" + input;
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::string answer, TextAt(object, "output", ""));
  example->messages = {{"user", std::move(user)},
                       {"assistant", std::move(answer)}};
  return absl::OkStatus();
}

absl::Status ReadParts(const json& object, JsonExample* example) {
  switch (example->schema) {
    case TextSchema::kMessages: {
      EDGETUNE_ASSIGN_OR_RETURN(example->messages,
                                MessagesAt(object, "messages"));
      return absl::OkStatus();
    }
    case TextSchema::kShareGpt: {
      EDGETUNE_ASSIGN_OR_RETURN(
          example->messages,
          ReadMessages(object, "conversations", kShareGptKeys));
      return absl::OkStatus();
    }
    case TextSchema::kPrompt:
      return ReadPrompt(object, example);
    case TextSchema::kAlpaca:
      return ReadAlpaca(object, example);
    case TextSchema::kText: {
      EDGETUNE_ASSIGN_OR_RETURN(example->completion,
                                TextAt(object, "text", ""));
      return absl::OkStatus();
    }
  }
  return absl::InternalError("unknown schema");
}

}  // namespace

std::string_view NameOf(TextSchema schema) {
  switch (schema) {
    case TextSchema::kMessages:
      return "messages";
    case TextSchema::kShareGpt:
      return "sharegpt";
    case TextSchema::kPrompt:
      return "prompt";
    case TextSchema::kAlpaca:
      return "alpaca";
    case TextSchema::kText:
      return "text";
  }
  return "?";
}

absl::StatusOr<json> ParseJsonObject(std::string_view line) {
  constexpr std::string_view kWhat = "line";
  absl::StatusOr<json> object = ParseStrictJson(line, kWhat);
  if (!object.ok()) {
    const std::string_view why(object.status().message().data(),
                               object.status().message().size());
    // Names of keys may be private, too.
    if (why.find("appears twice") != std::string_view::npos) {
      return WrongLine("a key appears twice in one object");
    }
    return WrongLine(std::string(why.substr(kWhat.size() + 2)));
  }
  if (object->is_object()) return object;
  return WrongLine(
      fmt::format("not a JSON object but {}", object->type_name()));
}

absl::StatusOr<std::string> TextAt(const json& object, const char* key,
                                   const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return WrongLine(fmt::format("{}has no \"{}\"", where, key));
  }
  if (!found->is_string()) {
    return WrongLine(fmt::format("{}\"{}\" must be a string, got {}", where,
                                 key, found->type_name()));
  }
  return found->get<std::string>();
}

absl::StatusOr<std::vector<ChatMessage>> MessagesAt(const json& object,
                                                    const char* key) {
  return ReadMessages(object, key, kMessageKeys);
}

absl::StatusOr<JsonExample> ParseJsonExample(
    std::string_view line, std::optional<TextSchema> expected) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseJsonObject(line));
  JsonExample example;
  if (expected) {
    example.schema = *expected;
  } else {
    EDGETUNE_ASSIGN_OR_RETURN(example.schema, SchemaOf(object));
  }
  EDGETUNE_RETURN_IF_ERROR(ReadParts(object, &example));
  return example;
}

}  // namespace edgetune
