#include "client/status_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Json = nlohmann::ordered_json;

std::string PathIn(const std::string& directory) {
  return directory + "/status.json";
}

absl::StatusOr<DeviceStatus> Parse(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("it is not a JSON object");
  DeviceStatus status;
  try {
    status.state = json.at("state").get<std::string>();
    status.detail = json.at("detail").get<std::string>();
    status.run_id = json.at("run_id").get<std::string>();
    status.round = json.at("round").get<uint32_t>();
    status.attempt = json.at("attempt").get<uint32_t>();
    status.changed = json.at("changed").get<std::string>();
    status.last_run_id = json.at("last_run_id").get<std::string>();
    status.last_round = json.at("last_round").get<uint32_t>();
    status.last_ending = json.at("last_ending").get<std::string>();
    status.last_detail = json.at("last_detail").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(error.what());
  }
  return status;
}

}  // namespace

std::string DeviceStatusJson(const DeviceStatus& status) {
  const Json json = {{"state", status.state},
                     {"detail", status.detail},
                     {"run_id", status.run_id},
                     {"round", status.round},
                     {"attempt", status.attempt},
                     {"changed", status.changed},
                     {"last_run_id", status.last_run_id},
                     {"last_round", status.last_round},
                     {"last_ending", status.last_ending},
                     {"last_detail", status.last_detail}};
  // Details may quote a peer: bytes that are no UTF-8 must not throw.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status WriteDeviceStatus(const std::string& state_directory,
                               const DeviceStatus& status) {
  return WriteFileAtomically(PathIn(state_directory),
                             DeviceStatusJson(status) + "\n", 0600);
}

absl::StatusOr<DeviceStatus> ReadDeviceStatus(
    const std::string& state_directory) {
  const std::string path = PathIn(state_directory);
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 20));
  auto status = Parse(text);
  if (!status.ok()) return Prefix(status.status(), path);
  return status;
}

std::string DeviceStatusText(const DeviceStatus& status) {
  std::string text = status.state;
  if (!status.detail.empty()) text += ": " + status.detail;
  if (!status.run_id.empty()) {
    text +=
        fmt::format("\nrun {} round {} attempt {}", status.run_id.substr(0, 8),
                    status.round, status.attempt);
  }
  text += fmt::format("\nsince {}", status.changed);
  if (!status.last_run_id.empty()) {
    text += fmt::format("\nlast: run {} round {} {}",
                        status.last_run_id.substr(0, 8), status.last_round,
                        status.last_ending);
    if (!status.last_detail.empty()) text += " (" + status.last_detail + ")";
  }
  return text;
}

}  // namespace edgetune
