#ifndef EDGETUNE_SERVER_ACCESS_FILES_H_
#define EDGETUNE_SERVER_ACCESS_FILES_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "privacy/identity/roster_file.h"
#include "server/coordinator.h"
#include "server/file_watch.h"

namespace edgetune {

// Keeps a coordinator's idea of who may take part equal to two files: the
// signed roster, which the enrolment authority publishes, and the deny list
// (device ids, one a line), which can only tighten it. Life: Load once, whose
// errors end the start; then Poll about once a second. A file that became
// unreadable, torn or older than before changes nothing and is logged: who was
// refused stays refused. One thread. Borrowed: the clock outlives it.
class AccessFiles {
 public:
  // `deny` empty: no deny list.
  AccessFiles(const std::string& roster, const std::string& deny,
              TrustedKeys keys, const Clock* clock);

  // kIdentity for the roster, kConfig for the deny list.
  absl::Status Load(Coordinator& coordinator);
  // Reads what changed on disk, everything if `force`.
  void Poll(Coordinator& coordinator, bool force = false);

 private:
  absl::Status LoadRoster(Coordinator& coordinator);
  absl::Status LoadDenied(Coordinator& coordinator);

  FileWatch roster_;
  FileWatch deny_;
  const TrustedKeys keys_;
  const Clock* const clock_;
  RosterGuard guard_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_ACCESS_FILES_H_
