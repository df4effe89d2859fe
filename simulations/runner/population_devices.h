#ifndef EDGETUNE_SIMULATIONS_RUNNER_POPULATION_DEVICES_H_
#define EDGETUNE_SIMULATIONS_RUNNER_POPULATION_DEVICES_H_

#include <cstdint>
#include <vector>

#include "simulations/fleet/device_model.h"
#include "simulations/population/device_profile.h"
#include "simulations/population/population.h"

namespace edgetune {

// The first devices of a population as a fleet asks for them. Evaluation is a
// third of training (a forward pass of the three passes' work); a device that
// vanished is back after an hour. Immutable, thread-safe.
class PopulationDevices final : public DeviceModel {
 public:
  PopulationDevices(const PopulationSpec& population, size_t devices,
                    uint64_t seed);

  const DeviceProfile& profile(size_t device) const {
    return profiles_[device];
  }

  uint64_t Memory(size_t device) const override {
    return profiles_[device].memory_bytes;
  }
  absl::Duration Latency(size_t device) const override;
  absl::Duration DownloadTime(size_t device, uint64_t bytes) const override;
  absl::Duration UploadTime(size_t device, uint64_t bytes) const override;
  absl::Duration EvaluationTime(size_t device, uint64_t tokens) const override;
  absl::Duration TrainingTime(size_t device, uint64_t tokens) const override;
  absl::Time NextOnline(size_t device, absl::Time from) const override;
  absl::Time NextOffline(size_t device, absl::Time from) const override;
  std::optional<double> VanishesAt(size_t device, uint32_t round,
                                   uint32_t attempt) const override;
  absl::Duration GoneFor(size_t device) const override;
  int64_t LargestRank(size_t device) const override {
    return profiles_[device].rank;
  }

 private:
  DeviceNumber NumberOf(size_t device) const { return {seed_, device}; }

  const uint64_t seed_;
  std::vector<DeviceProfile> profiles_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_POPULATION_DEVICES_H_
