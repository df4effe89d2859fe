#include "config/toml_reader.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <optional>
#include <sstream>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxFile = 1 << 20;

std::string At(const std::string& path, const toml::source_region& source) {
  return fmt::format("{}:{}:{}", path, source.begin.line, source.begin.column);
}

std::optional<std::vector<std::string>> AsTexts(const toml::array& array) {
  std::vector<std::string> texts;
  for (const toml::node& node : array) {
    const auto* text = node.as_string();
    if (text == nullptr) return std::nullopt;
    texts.push_back(text->get());
  }
  return texts;
}

SettingValue AsValue(const toml::node& node) {
  if (const auto* x = node.as_boolean()) return x->get();
  if (const auto* x = node.as_integer()) return x->get();
  if (const auto* x = node.as_floating_point()) return x->get();
  if (const auto* x = node.as_string()) return x->get();
  if (const auto* x = node.as_array()) {
    if (auto texts = AsTexts(*x)) return *std::move(texts);
    return OtherValue{"a list that holds other things than text"};
  }
  return OtherValue{node.is_table() ? "a section" : "a date or time"};
}

void Flatten(const toml::table& table, const std::string& prefix,
             const std::string& path, std::vector<SettingEntry>& out) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const auto* below = node.as_table();
    if (below != nullptr && !below->empty()) {
      Flatten(*below, key + ".", path, out);
      continue;
    }
    out.push_back(
        {.key = key,
         .value = AsValue(node),
         .raw = "",
         .origin = fmt::format("{}:{}", path, node.source().begin.line),
         .key_at = At(path, name.source()),
         .value_at = At(path, node.source())});
  }
}

}  // namespace

absl::StatusOr<std::vector<SettingEntry>> ReadTomlFile(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFile));
  try {
    std::vector<SettingEntry> entries;
    Flatten(toml::parse(text, path), "", path, entries);
    return entries;
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}", At(path, error.source()), error.description()));
  }
}

SettingValue ParseTomlValue(const std::string& text) {
  try {
    const toml::table table = toml::parse("value = " + text);
    const toml::node* node = table.get("value");
    if (table.size() == 1 && node != nullptr) return AsValue(*node);
  } catch (const toml::parse_error&) {
    // Not TOML, hence plain text such as 10m or fp32.
  }
  return text;
}

std::string TomlText(const std::string& text) {
  const toml::value<std::string> value(text);
  std::ostringstream out;
  out << toml::toml_formatter{value,
                              toml::toml_formatter::default_flags &
                                  ~toml::format_flags::allow_literal_strings};
  return out.str();
}

}  // namespace edgetune
