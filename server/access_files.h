#ifndef EDGETUNE_SERVER_ACCESS_FILES_H_
#define EDGETUNE_SERVER_ACCESS_FILES_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "privacy/identity/envelope.h"
#include "server/coordinator.h"
#include "server/file_watch.h"
#include "storage/database.h"

namespace edgetune {

// Keeps a coordinator's idea of who may take part equal to two files: the
// signed roster, which the enrolment authority publishes, and the deny list
// (device ids, one a line), which can only tighten it. Life: Load once, whose
// errors end the start; then Poll about once a second. A file that became
// unreadable, torn or older than before changes nothing and is logged: who was
// refused stays refused. The newest roster is remembered in the database before
// the coordinator gets it, so that no restart brings an older one back. One
// thread.
class AccessFiles {
 public:
  struct Dependencies {
    std::string roster;
    std::string deny;  // empty: no deny list
    TrustedKeys trusted;
    const Clock* clock;  // borrowed
    Database* database;  // borrowed; has the coordinator's tables
    // Called when the roster's mark may not be durable; the process exits.
    std::function<void(const absl::Status&)> fatal;
  };

  explicit AccessFiles(Dependencies dependencies);

  // kIdentity for the roster (FailedPrecondition: older than the one that was
  // acted upon before, or another of its version), kConfig for the deny list.
  absl::Status Load(Coordinator& coordinator);
  // Reads what changed on disk, everything if `force`.
  void Poll(Coordinator& coordinator, bool force = false);

 private:
  absl::Status LoadRoster(Coordinator& coordinator);
  absl::Status LoadDenied(Coordinator& coordinator);
  absl::Status Remember(const v1::Envelope& head);

  const Dependencies deps_;
  FileWatch roster_;
  FileWatch deny_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_ACCESS_FILES_H_
