#include "simulations/report/run_event.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "base/utf8.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kMaxCount = int64_t{1} << 53;
constexpr double kMaxSeconds = 0x1p53;

using Field = std::variant<std::optional<int64_t> RunEvent::*,
                           std::optional<double> RunEvent::*,
                           std::optional<std::string> RunEvent::*>;

// Every field, in the order in which they are written.
const std::pair<const char*, Field> kFields[] = {
    {"round", &RunEvent::round},
    {"attempt", &RunEvent::attempt},
    {"asked", &RunEvent::asked},
    {"client", &RunEvent::client},
    {"group", &RunEvent::group},
    {"examples", &RunEvent::examples},
    {"updates", &RunEvent::updates},
    {"weight_sum", &RunEvent::weight_sum},
    {"name", &RunEvent::name},
    {"nll_sum", &RunEvent::nll_sum},
    {"tokens", &RunEvent::tokens},
    {"correct", &RunEvent::correct},
    {"state", &RunEvent::state},
    {"adapter", &RunEvent::adapter},
    {"bytes_down", &RunEvent::bytes_down},
    {"bytes_up", &RunEvent::bytes_up},
    {"train_s", &RunEvent::train_s},
    {"train_loss", &RunEvent::train_loss},
    {"outcome", &RunEvent::outcome},
    {"reason", &RunEvent::reason},
    {"busy_s", &RunEvent::busy_s},
    {"span_s", &RunEvent::span_s},
};

struct Kind {
  EventKind kind;
  std::string name;
  std::vector<std::string> must;
  std::vector<std::string> may;
};

// In the order of EventKind.
const std::vector<Kind>& Kinds() {
  using enum EventKind;
  static const std::vector<Kind> kinds = {
      {kRoundStarted, "round_started", {"round", "asked"}, {"attempt"}},
      {kSelected, "selected", {"round", "client", "group"}, {"attempt"}},
      {kReported,
       "reported",
       {"round", "client", "group", "bytes_down", "bytes_up", "train_s"},
       {"attempt", "examples", "train_loss"}},
      {kRefused,
       "refused",
       {"round", "client", "group", "reason"},
       {"attempt"}},
      {kLate, "late", {"round", "client", "group"}, {"attempt"}},
      {kDropped,
       "dropped",
       {"round", "client", "group", "reason"},
       {"attempt"}},
      {kDeclined,
       "declined",
       {"round", "client", "group", "reason"},
       {"attempt"}},
      {kRoundCommitted,
       "round_committed",
       {"round", "updates", "weight_sum", "adapter", "bytes_down", "bytes_up"},
       {"attempt"}},
      {kRoundAbandoned, "round_abandoned", {"round", "reason"}, {"attempt"}},
      {kMeasure, "measure", {"round", "nll_sum", "tokens"}, {"attempt"}},
      {kClientMeasure,
       "client_measure",
       {"round", "client", "group", "nll_sum", "tokens"},
       {"attempt", "correct"}},
      {kEvaluation,
       "evaluation",
       {"round", "client", "group", "outcome"},
       {"attempt", "reason"}},
      {kTest, "test", {"round", "nll_sum", "tokens", "correct"}, {}},
      {kBaseline, "baseline", {"name", "nll_sum", "tokens"}, {"group"}},
      {kRunFinished,
       "run_finished",
       {"state", "busy_s", "span_s"},
       {"adapter"}},
  };
  return kinds;
}

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

absl::Status Wrong(std::string_view key, std::string_view wanted) {
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" must be {}", key, wanted));
}

absl::Status CheckValue(std::string_view key, int64_t value) {
  if (value >= 0 && value <= kMaxCount) return absl::OkStatus();
  return Wrong(key, "in [0, 2^53]");
}

absl::Status CheckValue(std::string_view key, double value) {
  if (!std::isfinite(value)) return Wrong(key, "a finite number");
  if (key == "nll_sum" || key == "train_loss") return absl::OkStatus();
  if (key == "weight_sum" && value < 0) return Wrong(key, "at least 0");
  if (key == "weight_sum" || (value >= 0 && value <= kMaxSeconds)) {
    return absl::OkStatus();
  }
  return Wrong(key, "seconds in [0, 2^53]");
}

absl::Status CheckUtf8(std::string_view key, std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (c.code < 0) return Wrong(key, "UTF-8");
    text.remove_prefix(c.length);
  }
  return absl::OkStatus();
}

absl::Status CheckValue(std::string_view key, const std::string& value) {
  if (key == "adapter" && !FromHex(value)) return Wrong(key, "hexadecimal");
  if (key == "state" && value != "finished" && value != "failed" &&
      value != "stopped") {
    return Wrong(key, "finished, failed or stopped");
  }
  constexpr std::array<std::string_view, 6> kOutcomes = {
      "selected", "reported", "refused", "late", "dropped", "declined"};
  if (key == "outcome" &&
      std::ranges::find(kOutcomes, value) == kOutcomes.end()) {
    return Wrong(key, "what becomes of a session");
  }
  return CheckUtf8(key, value);
}

// A number of the file as what the field holds; type errors are by name.
template <typename T>
absl::StatusOr<T> ValueOf(const json& value, std::string_view key) {
  if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) return Wrong(key, "text");
    return value.get<std::string>();
  } else if constexpr (std::is_same_v<T, double>) {
    if (!value.is_number()) return Wrong(key, "a number");
    return value.get<double>();
  } else {
    if (!value.is_number_integer()) return Wrong(key, "a whole number");
    if (value.is_number_unsigned() && value.get<uint64_t>() > kMaxCount) {
      return Wrong(key, "in [0, 2^53]");
    }
    return value.get<T>();
  }
}

template <typename T>
absl::StatusOr<T> Take(const json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) {
    return absl::InvalidArgumentError(fmt::format("has no \"{}\"", key));
  }
  EDGETUNE_ASSIGN_OR_RETURN(T value, ValueOf<T>(*found, key));
  EDGETUNE_RETURN_IF_ERROR(CheckValue(key, value));
  return value;
}

absl::StatusOr<json> ParseObject(std::string_view line) {
  EDGETUNE_ASSIGN_OR_RETURN(json object, ParseStrictJson(line, "event"));
  if (!object.is_object()) {
    return absl::InvalidArgumentError("is no JSON object");
  }
  return object;
}

absl::Status CheckHeader(const RunHeader& header) {
  const auto id = FromHex(header.run);
  if (!id || id->size() != 32) return Wrong("run", "64 hexadecimal digits");
  EDGETUNE_RETURN_IF_ERROR(CheckUtf8("name", header.name));
  if (header.clients < 1) return Wrong("clients", "at least 1");
  EDGETUNE_RETURN_IF_ERROR(CheckValue("clients", header.clients));
  EDGETUNE_RETURN_IF_ERROR(CheckValue("rounds", header.rounds));
  EDGETUNE_RETURN_IF_ERROR(CheckValue("cohort", header.cohort));
  for (const auto& [key, value] : header.settings) {
    EDGETUNE_RETURN_IF_ERROR(CheckUtf8("settings", key));
    EDGETUNE_RETURN_IF_ERROR(CheckUtf8("settings", value));
  }
  return absl::OkStatus();
}

absl::Status TakeSettings(const json& object, RunHeader* header) {
  const auto settings = object.find("settings");
  if (settings == object.end()) return absl::OkStatus();
  if (!settings->is_object()) return Wrong("settings", "an object of texts");
  for (const auto& [key, value] : settings->items()) {
    if (!value.is_string()) return Wrong("settings", "an object of texts");
    header->settings[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status AddField(const Kind& kind, const RunEvent& event,
                      const std::pair<const char*, Field>& field,
                      ordered_json* line) {
  const char* key = field.first;
  return std::visit(
      [&](auto member) -> absl::Status {
        const auto& value = event.*member;
        const bool must = Has(kind.must, key);
        if (!value && !must) return absl::OkStatus();
        if (!value || (!must && !Has(kind.may, key))) {
          return absl::InvalidArgumentError(
              fmt::format("event {} {} \"{}\"", kind.name,
                          value ? "takes no" : "needs", key));
        }
        EDGETUNE_RETURN_IF_ERROR(CheckValue(key, *value));
        (*line)[key] = *value;
        return absl::OkStatus();
      },
      field.second);
}

absl::Status TakeField(const Kind& kind, const json& object,
                       const std::pair<const char*, Field>& field,
                       RunEvent* event) {
  const std::string key = field.first;
  const bool must = Has(kind.must, key);
  if (!must && !(Has(kind.may, key) && object.contains(key))) {
    return absl::OkStatus();
  }
  return std::visit(
      [&](auto member) -> absl::Status {
        using T =
            typename std::remove_cvref_t<decltype(event->*member)>::value_type;
        EDGETUNE_ASSIGN_OR_RETURN(event->*member, Take<T>(object, key));
        return absl::OkStatus();
      },
      field.second);
}

}  // namespace

absl::StatusOr<std::string> FormatHeader(const RunHeader& header) {
  EDGETUNE_RETURN_IF_ERROR(CheckHeader(header));
  const ordered_json line = {
      {"event", "run"},          {"schema", kEventSchema},
      {"run", header.run},       {"name", header.name},
      {"seed", header.seed},     {"clients", header.clients},
      {"rounds", header.rounds}, {"cohort", header.cohort},
      {"masked", header.masked}, {"settings", header.settings}};
  return line.dump();
}

absl::StatusOr<std::string> FormatEvent(const RunEvent& event) {
  const Kind& kind = Kinds()[static_cast<size_t>(event.kind)];
  EDGETUNE_CHECK(kind.kind == event.kind);
  EDGETUNE_RETURN_IF_ERROR(CheckValue("t", event.t));
  ordered_json line = {{"event", kind.name}, {"t", event.t}};
  for (const auto& field : kFields) {
    EDGETUNE_RETURN_IF_ERROR(AddField(kind, event, field, &line));
  }
  return line.dump();
}

absl::StatusOr<RunHeader> ParseHeader(std::string_view line) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  EDGETUNE_ASSIGN_OR_RETURN(const auto event,
                            Take<std::string>(object, "event"));
  if (event != "run") {
    return absl::InvalidArgumentError("the first event must be \"run\"");
  }
  EDGETUNE_ASSIGN_OR_RETURN(const auto schema, Take<int64_t>(object, "schema"));
  if (schema != kEventSchema) {
    return absl::InvalidArgumentError(fmt::format(
        "schema {} of events, this version reads {}", schema, kEventSchema));
  }
  RunHeader header;
  EDGETUNE_ASSIGN_OR_RETURN(header.run, Take<std::string>(object, "run"));
  EDGETUNE_ASSIGN_OR_RETURN(header.name, Take<std::string>(object, "name"));
  EDGETUNE_ASSIGN_OR_RETURN(header.clients, Take<int64_t>(object, "clients"));
  EDGETUNE_ASSIGN_OR_RETURN(header.rounds, Take<int64_t>(object, "rounds"));
  EDGETUNE_ASSIGN_OR_RETURN(header.cohort, Take<int64_t>(object, "cohort"));
  const auto seed = object.find("seed");
  if (seed == object.end() || !seed->is_number_unsigned()) {
    return Wrong("seed", "a whole number in [0, 2^64)");
  }
  header.seed = seed->get<uint64_t>();
  const auto masked = object.find("masked");
  if (masked == object.end() || !masked->is_boolean()) {
    return Wrong("masked", "true or false");
  }
  header.masked = masked->get<bool>();
  EDGETUNE_RETURN_IF_ERROR(TakeSettings(object, &header));
  EDGETUNE_RETURN_IF_ERROR(CheckHeader(header));
  return header;
}

absl::StatusOr<std::optional<RunEvent>> ParseEvent(std::string_view line) {
  EDGETUNE_ASSIGN_OR_RETURN(const json object, ParseObject(line));
  EDGETUNE_ASSIGN_OR_RETURN(const auto name,
                            Take<std::string>(object, "event"));
  if (name == "run") {
    return absl::InvalidArgumentError("a second run begins here");
  }
  const auto kind = std::ranges::find(Kinds(), name, &Kind::name);
  if (kind == Kinds().end()) return std::nullopt;
  RunEvent event{.kind = kind->kind};
  EDGETUNE_ASSIGN_OR_RETURN(event.t, Take<double>(object, "t"));
  for (const auto& field : kFields) {
    EDGETUNE_RETURN_IF_ERROR(
        Prefix(TakeField(*kind, object, field, &event), name));
  }
  return event;
}

}  // namespace edgetune
