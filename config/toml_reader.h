#ifndef EDGETUNE_CONFIG_TOML_READER_H_
#define EDGETUNE_CONFIG_TOML_READER_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// A value that no setting takes: a date, an empty table, a mixed list.
struct OtherValue {
  std::string kind;
};
using SettingValue = std::variant<bool, int64_t, double, std::string,
                                  std::vector<std::string>, OtherValue>;

// One key and its value as one source states them, free of the TOML library.
struct SettingEntry {
  std::string key;  // dotted: "train.lr"
  SettingValue value;
  // Text of a value that stands outside a file; settings that want text take
  // it as it is ("--set data.name=1").
  std::string raw;
  std::string origin;    // "run.toml:12", "EDGETUNE_TRAIN__LR", "--set"
  std::string key_at;    // where an error about the key points
  std::string value_at;  // where an error about the value points
};

// All leaves of a file in the order of their keys; an empty table is a leaf.
// NotFound, InvalidArgument (syntax, with file:line:column). Thread-safe.
absl::StatusOr<std::vector<SettingEntry>> ReadTomlFile(const std::string& path);

// The value of a flag or variable: TOML where it is TOML, else text.
SettingValue ParseTomlValue(const std::string& text);

// As TOML: quoted and escaped.
std::string TomlText(const std::string& text);

}  // namespace edgetune

#endif  // EDGETUNE_CONFIG_TOML_READER_H_
