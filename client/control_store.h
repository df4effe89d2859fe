#ifndef EDGETUNE_CLIENT_CONTROL_STORE_H_
#define EDGETUNE_CLIENT_CONTROL_STORE_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/parameters.h"
#include "client/client_session.h"
#include "storage/database.h"

namespace edgetune {

// A device's own control variate c_i of each run that has them (train.objective
// "scaffold"; base/control_variates.h), as durable as its sessions and in the
// same file, mode 0600: it is a mean gradient of the device's data.
//
// A training makes the next one. Whether that becomes the device's own is known
// only later: an accepted update is in the adapter when its round is committed,
// and that may be another attempt of other devices. So both are kept, and the
// next assignment of the run, which names the device's last session in the
// adapter, settles it. Thread-safe through Database, which it borrows. Errors:
// those of Database; DataLoss: a row that this program did not write.
class ControlStore {
 public:
  explicit ControlStore(Database* database) : database_(database) {}

  static const char* Migration();

  // `counted`: this device's last session of the run in the adapter, if any.
  // The variate that its training made is the device's own from here on, and
  // others that were waiting go. FailedPrecondition: it is not here, since the
  // device lost its state or the coordinator is wrong: taking part would spoil
  // the server's variate for good. Forgets runs that expired before `now`.
  absl::Status Settle(const std::string& run_id,
                      const std::optional<SessionId>& counted, absl::Time now);
  // Of a settled run; zeros before its first. DataLoss also: of another size.
  absl::StatusOr<ParameterVector> Read(const std::string& run_id,
                                       size_t coordinates);
  // What the session's training made, in place of what was waiting. `expires`:
  // the run's end at the latest.
  absl::Status Keep(const SessionId& id, std::span<const float> next,
                    absl::Time expires);
  // What waits is that of this session now, whose result is the same.
  absl::Status Carry(const SessionId& id);
  absl::Status Forget(const std::string& run_id);

 private:
  Database* const database_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_CONTROL_STORE_H_
