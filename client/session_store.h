#ifndef EDGETUNE_CLIENT_SESSION_STORE_H_
#define EDGETUNE_CLIENT_SESSION_STORE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_session.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "storage/database.h"

namespace edgetune {

// How the device's tables name a session: run, round, attempt.
Row KeyRow(const SessionId& id);

// What a device must remember of its sessions: how far each run has come (so
// that no round is ever done twice), the session in progress with the
// documents it was verified from, and its report as far as it has come: what
// was evaluated is not evaluated again, and once trained it is repeated word
// for word after a crash. Thread-safe through Database, which it
// borrows. Errors: those of Database.
class SessionStore {
 public:
  struct Unfinished {
    SessionId id;
    v1::Assignment assignment;
    // Present: evaluated. With an update digest: the update is durable.
    std::optional<v1::Report> report;
  };

  explicit SessionStore(Database* database) : database_(database) {}

  static const std::vector<std::string>& Migrations();

  absl::StatusOr<std::optional<Unfinished>> ReadUnfinished();

  // Before anything is said about the session: raises the run's high-water
  // mark to (round, attempt). FailedPrecondition: that mark is higher, or
  // equal and this is not the unfinished session itself.
  absl::Status Begin(const SessionId& id, const v1::Assignment& assignment,
                     absl::Time now);
  absl::Status SaveReport(const SessionId& id, const v1::Report& report,
                          absl::Time now);
  absl::Status End(const SessionId& id, ClientSession::Ending ending,
                   const std::string& detail, absl::Time now);

 private:
  Database* const database_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_SESSION_STORE_H_
