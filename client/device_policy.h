#ifndef EDGETUNE_CLIENT_DEVICE_POLICY_H_
#define EDGETUNE_CLIENT_DEVICE_POLICY_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "config/daemon_files.h"

namespace edgetune {

// Whether a device may work now, and when that changes.
struct PolicyAnswer {
  bool allowed = true;
  absl::Time until = absl::InfiniteFuture();  // first instant it is otherwise
};

// The daily window in `zone`'s wall-clock time; one that ends before it starts
// runs over midnight, one that ends where it starts is the whole day. Where
// clocks jump, a missing or doubled minute is read as absl::FromCivil does.
// Pure, thread-safe.
PolicyAnswer CheckPolicy(const ClientFile::Policy& policy, absl::Time now,
                         absl::TimeZone zone);

// "22:00-06:00".
std::string WindowText(const DailyWindow& window);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_DEVICE_POLICY_H_
