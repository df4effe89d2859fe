#include "training/parse.h"

#include <fmt/format.h>

#include <initializer_list>
#include <string>

#include "base/status.h"

namespace edgetune {
namespace {

template <typename Enum>
absl::StatusOr<Enum> Parse(std::string_view what, std::string_view word,
                           std::initializer_list<Enum> known) {
  std::string names;
  for (const Enum value : known) {
    if (NameOf(value) == word) return value;
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", NameOf(value));
  }
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "unknown {} \"{}\"; known: {}", what, word, names)),
                  ErrorKind::kConfig);
}

}  // namespace

absl::StatusOr<Precision> ParsePrecision(std::string_view word) {
  return Parse(
      "precision", word,
      {Precision::kAuto, Precision::kFp32, Precision::kBf16, Precision::kInt8});
}

absl::StatusOr<Schedule> ParseSchedule(std::string_view word) {
  return Parse("schedule", word, {Schedule::kConstant, Schedule::kCosine});
}

std::string_view NameOf(Precision precision) {
  switch (precision) {
    case Precision::kAuto:
      return "auto";
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "?";
}

std::string_view NameOf(Schedule schedule) {
  switch (schedule) {
    case Schedule::kConstant:
      return "constant";
    case Schedule::kCosine:
      return "cosine";
  }
  return "?";
}

}  // namespace edgetune
