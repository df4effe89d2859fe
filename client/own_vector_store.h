#ifndef EDGETUNE_CLIENT_OWN_VECTOR_STORE_H_
#define EDGETUNE_CLIENT_OWN_VECTOR_STORE_H_

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

// What a device keeps of each run whose plan has something to keep
// (KeepsOwnVector in protos/local_work.h): its control variate c_i
// (train.objective "scaffold"; base/control_variates.h) or its own factors B
// (lora.rule "fedsa"). As durable as its sessions and in the same file, mode
// 0600: it says something of the device's data.
//
// A training makes the next one. Whether that becomes the device's own is known
// only later: an accepted update is in the adapter when its round is committed,
// and that may be another attempt of other devices. So both are kept, and the
// next assignment of the run, which names the device's last session in the
// adapter, settles it. Thread-safe through Database, which it borrows. Errors:
// those of Database; DataLoss: a row that this program did not write.
class OwnVectorStore {
 public:
  explicit OwnVectorStore(Database* database) : database_(database) {}

  static const char* Migration();

  // `counted`: this device's last session of the run in the adapter, if any.
  // The vector that its training made is the device's own from here on, and
  // others that were waiting go. FailedPrecondition: it is not here, since the
  // device lost its state or the coordinator is wrong. Forgets runs that
  // expired before `now`.
  absl::Status Settle(const std::string& run_id,
                      const std::optional<SessionId>& counted, absl::Time now);
  // Of a settled run; empty before its first. DataLoss also: of another size.
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

#endif  // EDGETUNE_CLIENT_OWN_VECTOR_STORE_H_
