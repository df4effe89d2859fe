#ifndef EDGETUNE_SIMULATIONS_FLEET_FLEET_OBSERVER_H_
#define EDGETUNE_SIMULATIONS_FLEET_FLEET_OBSERVER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/operator.pb.h"

namespace edgetune {

// What became of one device's session.
struct SessionNews {
  enum class Kind {
    kSelected,  // assigned
    kAccepted,  // its result counts
    kRefused,   // by the coordinator, with a reason
    kLate,
    kCancelled,  // the round ended without a result
    kDeclined,   // by the device, with a reason
    kVanished,   // the device went off-line in the middle
  };
  Kind kind;
  absl::Time at;
  size_t device = 0;
  uint32_t round = 0, attempt = 0;
  bool train = false;  // else an evaluation
  std::string reason = {};
  // Of kAccepted in clear mode: what the device reported. Null otherwise.
  const v1::Report* report = nullptr;
  uint64_t bytes_down = 0, bytes_up = 0;
  absl::Duration training = absl::ZeroDuration();  // virtual
};

// Who watches a simulated run; called on the fleet's thread, in the order of
// virtual time.
class FleetObserver {
 public:
  virtual ~FleetObserver() = default;
  virtual void OnSession(const SessionNews& news) = 0;
  // The run went on: a round committed, was abandoned or measured something, or
  // the run ended.
  virtual void OnRun(absl::Time at, const v1::RunStatus& status) = 0;
  // An error ends the simulation.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_FLEET_OBSERVER_H_
