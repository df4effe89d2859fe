#include "config/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

std::string Describe(const SettingValue& value) {
  struct {
    std::string operator()(bool x) { return x ? "true" : "false"; }
    std::string operator()(int64_t x) { return fmt::format("number {}", x); }
    std::string operator()(double x) { return fmt::format("number {}", x); }
    std::string operator()(const std::string& x) {
      return fmt::format("text {}", TomlText(x));
    }
    std::string operator()(const std::vector<std::string>&) {
      return "a list of texts";
    }
    std::string operator()(const OtherValue& x) { return x.kind; }
  } describe;
  return std::visit(describe, value);
}

absl::Status Wanted(const SettingEntry& entry, std::string_view wanted) {
  return absl::InvalidArgumentError(fmt::format("{}: {} is {}, wanted {}",
                                                entry.value_at, entry.key,
                                                Describe(entry.value), wanted));
}

bool Holds(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::optional<std::string> AsText(const SettingEntry& entry) {
  if (const auto* text = std::get_if<std::string>(&entry.value)) return *text;
  if (!entry.raw.empty()) return entry.raw;
  return std::nullopt;
}

std::optional<double> AsReal(const SettingEntry& entry) {
  if (const auto* x = std::get_if<double>(&entry.value)) return *x;
  if (const auto* x = std::get_if<int64_t>(&entry.value)) {
    return static_cast<double>(*x);
  }
  return std::nullopt;
}

// Outside files a list may be written a,b,c.
std::optional<std::vector<std::string>> AsTexts(const SettingEntry& entry) {
  if (const auto* texts = std::get_if<std::vector<std::string>>(&entry.value)) {
    return *texts;
  }
  if (entry.raw.empty()) return std::nullopt;
  std::vector<std::string> texts;
  size_t begin = 0;
  while (begin <= entry.raw.size()) {
    const size_t end = std::min(entry.raw.find(',', begin), entry.raw.size());
    texts.push_back(entry.raw.substr(begin, end - begin));
    begin = end + 1;
  }
  return texts;
}

std::string Choices(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const std::string& word : words) quoted.push_back(TomlText(word));
  return fmt::format("{}", fmt::join(quoted, " or "));
}

std::string TomlList(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(TomlText(text));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

}  // namespace

void Settings::Flag(const std::string& key, bool* to) {
  auto set = [to](const SettingEntry& entry) {
    const auto* x = std::get_if<bool>(&entry.value);
    if (x == nullptr) return Wanted(entry, "true or false");
    *to = *x;
    return absl::OkStatus();
  };
  auto show = [to] { return std::string(*to ? "true" : "false"); };
  rows_.push_back({key, set, show});
}

void Settings::Whole(const std::string& key, int64_t* to, int64_t low,
                     int64_t high) {
  auto set = [to, low, high](const SettingEntry& entry) {
    const auto* x = std::get_if<int64_t>(&entry.value);
    if (x == nullptr || *x < low || *x > high) {
      return Wanted(entry,
                    fmt::format("a whole number from {} to {}", low, high));
    }
    *to = *x;
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return std::to_string(*to); }});
}

void Settings::Real(const std::string& key, double* to, double low, double high,
                    bool above) {
  auto set = [to, low, high, above](const SettingEntry& entry) {
    const auto x = AsReal(entry);
    // Comparisons with NaN are false, so NaN is refused too.
    if (!x || !((above ? *x > low : *x >= low) && *x <= high)) {
      return Wanted(entry, fmt::format("a number {} {} and at most {}",
                                       above ? "above" : "from", low, high));
    }
    *to = *x;
    return absl::OkStatus();
  };
  auto show = [to] {
    const std::string digits = fmt::format("{}", *to);
    // TOML tells 1.0 from 1.
    return digits.find_first_of(".e") == digits.npos ? digits + ".0" : digits;
  };
  rows_.push_back({key, set, show});
}

void Settings::Text(const std::string& key, std::string* to) {
  auto set = [to](const SettingEntry& entry) {
    auto text = AsText(entry);
    if (!text || text->empty()) return Wanted(entry, "text that is not empty");
    *to = *std::move(text);
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return TomlText(*to); }});
}

void Settings::AnyText(const std::string& key, std::string* to) {
  auto set = [to](const SettingEntry& entry) {
    auto text = AsText(entry);
    if (!text) return Wanted(entry, "text");
    *to = *std::move(text);
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return TomlText(*to); }});
}

void Settings::Word(const std::string& key, std::string* to,
                    std::vector<std::string> known,
                    std::vector<std::string> planned) {
  auto set = [to, known, planned](const SettingEntry& entry) {
    auto text = AsText(entry);
    if (text && Holds(planned, *text)) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: {} = {} is not in this version; wanted {}", entry.value_at,
          entry.key, TomlText(*text), Choices(known)));
    }
    if (!text || !Holds(known, *text)) return Wanted(entry, Choices(known));
    *to = *std::move(text);
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return TomlText(*to); }});
}

void Settings::Words(const std::string& key, std::vector<std::string>* to,
                     std::vector<std::string> known) {
  auto set = [to, known](const SettingEntry& entry) {
    const auto texts = AsTexts(entry);
    if (!texts || texts->empty()) {
      return Wanted(entry, "a list of " + Choices(known));
    }
    for (const std::string& text : *texts) {
      const auto times = std::count(texts->begin(), texts->end(), text);
      if (times > 1 || !Holds(known, text)) {
        return absl::InvalidArgumentError(
            fmt::format("{}: {} holds {}{}; wanted each once of {}",
                        entry.value_at, entry.key, TomlText(text),
                        times > 1 ? " more than once" : "", Choices(known)));
      }
    }
    to->clear();
    // One order, whatever the writer's, so that equal sets are equal plans.
    for (const std::string& word : known) {
      if (Holds(*texts, word)) to->push_back(word);
    }
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return TomlList(*to); }});
}

void Settings::Texts(const std::string& key, std::vector<std::string>* to) {
  auto set = [to](const SettingEntry& entry) {
    auto texts = AsTexts(entry);
    if (!texts) return Wanted(entry, "a list of texts");
    std::ranges::sort(*texts);
    const auto twice = std::ranges::adjacent_find(*texts);
    if (twice != texts->end()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {} holds {} more than once", entry.value_at,
                      entry.key, TomlText(*twice)));
    }
    *to = *std::move(texts);
    return absl::OkStatus();
  };
  rows_.push_back({key, set, [to] { return TomlList(*to); }});
}

void Settings::Time(const std::string& key, absl::Duration* to,
                    absl::Duration low, absl::Duration high) {
  auto set = [to, low, high](const SettingEntry& entry) {
    const auto text = AsText(entry);
    absl::Duration parsed;
    if (!text || !absl::ParseDuration(*text, &parsed) || parsed < low ||
        parsed > high) {
      return Wanted(entry, fmt::format("a duration such as \"1h30m\", \"10m\", "
                                       "\"30s\" or \"500ms\", from {} to {}",
                                       absl::FormatDuration(low),
                                       absl::FormatDuration(high)));
    }
    *to = parsed;
    return absl::OkStatus();
  };
  rows_.push_back(
      {key, set, [to] { return TomlText(absl::FormatDuration(*to)); }});
}

void Settings::Bytes(const std::string& key, uint64_t* to, uint64_t low,
                     uint64_t high) {
  auto set = [to, low, high](const SettingEntry& entry) {
    const auto text = AsText(entry);
    const auto bytes = ParseBytes(text == "0" ? "0B" : text.value_or(""));
    if (!bytes || (*bytes != 0 && (*bytes < low || *bytes > high))) {
      return Wanted(entry, fmt::format("a size such as \"450MB\", \"1.5GB\" or "
                                       "\"512MiB\" from {} to {}, or \"0\"",
                                       ExactBytes(low), ExactBytes(high)));
    }
    *to = *bytes;
    return absl::OkStatus();
  };
  auto show = [to] { return TomlText(*to == 0 ? "0" : ExactBytes(*to)); };
  rows_.push_back({key, set, show});
}

absl::Status Settings::UnknownKey(const SettingEntry& entry) const {
  for (const std::string& planned : planned_) {
    if (entry.key == planned || entry.key.starts_with(planned + ".")) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: {} is not in this version", entry.key_at, entry.key));
    }
  }
  std::vector<std::string> keys;
  for (const Row& row : rows_) {
    keys.push_back(row.key);
    if (row.key.starts_with(entry.key + ".")) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {} is a section, wanted [{}] and keys such as {}",
                      entry.key_at, entry.key, entry.key, row.key));
    }
  }
  const std::string closest = ClosestWord(entry.key, keys);
  return absl::InvalidArgumentError(fmt::format(
      "{}: unknown key {}{}", entry.key_at, entry.key,
      closest.empty() ? "" : fmt::format("; did you mean {}?", closest)));
}

absl::Status Settings::Apply(const std::vector<SettingEntry>& entries) {
  for (const SettingEntry& entry : entries) {
    auto row = std::find_if(rows_.begin(), rows_.end(),
                            [&](const Row& r) { return r.key == entry.key; });
    if (row == rows_.end()) {
      const auto* other = std::get_if<OtherValue>(&entry.value);
      const bool empty_section =
          other != nullptr && other->kind == "a section" &&
          std::any_of(rows_.begin(), rows_.end(), [&](const Row& r) {
            return r.key.starts_with(entry.key + ".");
          });
      if (empty_section) continue;
      return UnknownKey(entry);
    }
    EDGETUNE_RETURN_IF_ERROR(row->set(entry));
    row->origin = entry.origin;
  }
  return absl::OkStatus();
}

std::vector<ConfigOrigin> Settings::Origins() const {
  std::vector<ConfigOrigin> origins;
  for (const Row& row : rows_) {
    origins.push_back({row.key, row.show(), row.origin});
  }
  return origins;
}

const std::string& Settings::OriginOf(const std::string& key) const {
  const auto row = std::find_if(rows_.begin(), rows_.end(),
                                [&](const Row& r) { return r.key == key; });
  EDGETUNE_CHECK(row != rows_.end());
  return row->origin;
}

}  // namespace edgetune
