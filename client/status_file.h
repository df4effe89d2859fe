#ifndef EDGETUNE_CLIENT_STATUS_FILE_H_
#define EDGETUNE_CLIENT_STATUS_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace edgetune {

// What a device's client is doing, for people: `edgetune-client status` reads
// it while the client runs and after it ended. Decides nothing.
struct DeviceStatus {
  std::string state = "stopped";  // PhaseName, or "stopped"
  std::string detail;             // what it waits for, e.g. the time window
  std::string run_id;             // hex; of the session in progress
  uint32_t round = 0;
  uint32_t attempt = 0;
  std::string changed;  // RFC 3339
  // The session before: empty run id when there was none.
  std::string last_run_id;
  uint32_t last_round = 0;
  std::string last_ending;  // EndingName
  std::string last_detail;
  bool operator==(const DeviceStatus&) const = default;
};

// <state directory>/status.json, whole or not at all.
absl::Status WriteDeviceStatus(const std::string& state_directory,
                               const DeviceStatus& status);
// NotFound: no client ever ran there. DataLoss: not such a file.
absl::StatusOr<DeviceStatus> ReadDeviceStatus(
    const std::string& state_directory);

// One line a fact.
std::string DeviceStatusText(const DeviceStatus& status);
// The members of the file, as JSON text.
std::string DeviceStatusJson(const DeviceStatus& status);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_STATUS_FILE_H_
