#include "simulations/population/label_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "training/example_files.h"
#include "training/json_example.h"
#include "training/line_reader.h"

namespace edgetune {
namespace {

using nlohmann::json;

absl::Status WrongLabels(const std::string& what) {
  return absl::InvalidArgumentError(what);
}

absl::StatusOr<std::string> LabelOf(std::string_view line,
                                    const std::string& field) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseJsonObject(line));
  const auto found = object.find(field);
  if (found == object.end()) {
    return WrongLabels(fmt::format("has no \"{}\"", field));
  }
  if (found->is_string()) return found->get<std::string>();
  // Also what whole numbers beyond 64 bits have become.
  if (found->is_number_float() && std::abs(found->get<double>()) >= 0x1p53) {
    return WrongLabels(fmt::format(
        "\"{}\" is a number too large to be told from its neighbours; write "
        "it as text",
        field));
  }
  if (found->is_number() || found->is_boolean()) return found->dump();
  return WrongLabels(
      fmt::format("\"{}\" must be text, a number, true or false, got "
                  "{}",
                  field, found->type_name()));
}

absl::Status AddLabels(const std::string& file, const std::string& field,
                       std::vector<std::string>& labels) {
  EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(file));
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
    if (!line) return absl::OkStatus();
    if (IsBlank(*line)) continue;
    if (field.empty()) {
      labels.emplace_back();
      continue;
    }
    absl::StatusOr<std::string> label = LabelOf(*line, field);
    if (!label.ok()) {
      return Annotate(Prefix(label.status(), reader->Where()), ErrorKind::kData,
                      "field names what every line has: its label or owner");
    }
    labels.push_back(*std::move(label));
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadLabels(
    const std::string& jsonl_path, const std::string& field) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto files, ExampleFilesIn({jsonl_path}));
  std::vector<std::string> labels;
  for (const std::string& file : files) {
    if (IsPlainText(file)) {
      return Annotate(WrongLabels(file + ": plain text, wanted JSON lines"),
                      ErrorKind::kData, "only lines can be dealt to clients");
    }
    EDGETUNE_RETURN_IF_ERROR(AddLabels(file, field, labels));
  }
  if (!labels.empty()) return labels;
  return Annotate(WrongLabels(jsonl_path + ": no example in it"),
                  ErrorKind::kData);
}

}  // namespace edgetune
