#include "protos/field_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/escaping.h"
#include "google/protobuf/unknown_field_set.h"

namespace edgetune {
namespace {

bool HasUnknownFields(const google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  if (!reflection->GetUnknownFields(message).empty()) return true;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() == nullptr) continue;
    const int count =
        field->is_repeated() ? reflection->FieldSize(message, field) : 0;
    for (int i = 0; i < count; ++i) {
      if (HasUnknownFields(reflection->GetRepeatedMessage(message, field, i))) {
        return true;
      }
    }
    if (!field->is_repeated() &&
        HasUnknownFields(reflection->GetMessage(message, field))) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string Quoted(std::string_view word) {
  constexpr size_t kLongest = 60;
  const bool cut = word.size() > kLongest;
  word = word.substr(0, kLongest);
  return fmt::format("\"{}{}\"", absl::CHexEscape({word.data(), word.size()}),
                     cut ? "..." : "");
}

void FieldChecks::Refuse(std::string_view field, std::string_view rest) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      fmt::format("{}: field {} {}", document_, field, rest));
}

void FieldChecks::Whole(std::string_view field, uint64_t value, uint64_t low,
                        uint64_t high) {
  if (value >= low && value <= high) return;
  Refuse(field, fmt::format("is {}, wanted {} to {}", value, low, high));
}

void FieldChecks::Real(std::string_view field, double value, double low,
                       double high) {
  if (value >= low && value <= high) return;
  Refuse(field, fmt::format("is {}, wanted {} to {}", value, low, high));
}

void FieldChecks::Positive(std::string_view field, double value, double high) {
  if (value > 0 && value <= high) return;
  Refuse(field,
         fmt::format("is {}, wanted more than 0 and at most {}", value, high));
}

void FieldChecks::Word(std::string_view field, std::string_view value,
                       Words known, Words planned) {
  auto holds = [value](Words words) {
    return std::find(words.begin(), words.end(), value) != words.end();
  };
  if (holds(known)) return;
  const char* fault = holds(planned) ? ", which is not in this version" : "";
  Refuse(field, fmt::format("is {}{}; wanted {}", Quoted(value), fault,
                            fmt::join(known, " or ")));
}

void FieldChecks::Digest(std::string_view field, std::string_view value) {
  if (value.size() == 32) return;
  Refuse(field, fmt::format("has {} bytes, wanted 32", value.size()));
}

void FieldChecks::Label(std::string_view field, std::string_view value,
                        size_t limit) {
  // Continuation bytes of UTF-8 do not count as characters.
  const auto characters = static_cast<size_t>(std::count_if(
      value.begin(), value.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  const bool control = std::any_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (characters >= 1 && characters <= limit && !control) return;
  Refuse(field, fmt::format("is {}, wanted 1 to {} characters and no control "
                            "character",
                            Quoted(value), limit));
}

void FieldChecks::Require(bool condition, std::string_view field,
                          std::string_view got, std::string_view wanted) {
  if (condition) return;
  Refuse(field, fmt::format("is {}, wanted {}", got, wanted));
}

void FieldChecks::NoUnknownFields(const google::protobuf::Message& message,
                                  const std::string& path) {
  // Where they are is worked out only if there are any.
  if (!HasUnknownFields(message)) return;
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    Refuse(fmt::format("{}{}number {}", path, path.empty() ? "" : ".",
                       unknown.field(0).number()),
           "is unknown; this version cannot honour it");
    return;
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() == nullptr) continue;
    const std::string below =
        path.empty() ? field->name() : path + "." + field->name();
    if (!field->is_repeated()) {
      NoUnknownFields(reflection->GetMessage(message, field), below);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      NoUnknownFields(reflection->GetRepeatedMessage(message, field, i),
                      fmt::format("{}[{}]", below, i));
    }
  }
}

}  // namespace edgetune
