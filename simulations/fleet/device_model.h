#ifndef EDGETUNE_SIMULATIONS_FLEET_DEVICE_MODEL_H_
#define EDGETUNE_SIMULATIONS_FLEET_DEVICE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace edgetune {

// How the devices of a simulated fleet behave. Every method is a pure function
// of its arguments, so that a simulation repeats. Devices are numbered from 0.
class DeviceModel {
 public:
  virtual ~DeviceModel() = default;

  // That its client may take, training included, in bytes; 0: no limit.
  virtual uint64_t Memory(size_t device) const = 0;
  // Of one message, one way.
  virtual absl::Duration Latency(size_t device) const = 0;
  virtual absl::Duration DownloadTime(size_t device, uint64_t bytes) const = 0;
  virtual absl::Duration UploadTime(size_t device, uint64_t bytes) const = 0;
  // Evaluation reads `tokens` once, training reads and learns them.
  virtual absl::Duration EvaluationTime(size_t device,
                                        uint64_t tokens) const = 0;
  virtual absl::Duration TrainingTime(size_t device, uint64_t tokens) const = 0;

  // When the device is on-line next, `from` included; InfiniteFuture: never.
  virtual absl::Time NextOnline(size_t device, absl::Time from) const = 0;
  // And off-line.
  virtual absl::Time NextOffline(size_t device, absl::Time from) const = 0;
  // The device vanishes from this session after such a share of the time that
  // the session would take; nullopt: it does not.
  virtual std::optional<double> VanishesAt(size_t device, uint32_t round,
                                           uint32_t attempt) const = 0;
  // For how long it is gone then.
  virtual absl::Duration GoneFor(size_t device) const = 0;
  // Of adapters that it trains, as in client.toml; 0: any.
  virtual int64_t LargestRank(size_t /*device*/) const { return 0; }
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_DEVICE_MODEL_H_
