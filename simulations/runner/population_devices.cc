#include "simulations/runner/population_devices.h"

#include <algorithm>

namespace edgetune {

PopulationDevices::PopulationDevices(const PopulationSpec& population,
                                     size_t devices, uint64_t seed)
    : seed_(seed) {
  for (size_t i = 0; i < devices; ++i) {
    profiles_.push_back(ProfileOf(population, NumberOf(i)));
  }
}

absl::Duration PopulationDevices::Latency(size_t device) const {
  return profiles_[device].latency / 2;
}

absl::Duration PopulationDevices::DownloadTime(size_t device,
                                               uint64_t bytes) const {
  return edgetune::DownloadTime(profiles_[device], bytes);
}

absl::Duration PopulationDevices::UploadTime(size_t device,
                                             uint64_t bytes) const {
  return edgetune::UploadTime(profiles_[device], bytes);
}

absl::Duration PopulationDevices::EvaluationTime(size_t device,
                                                 uint64_t tokens) const {
  return TrainTime(profiles_[device], tokens) / 3;
}

absl::Duration PopulationDevices::TrainingTime(size_t device,
                                               uint64_t tokens) const {
  return TrainTime(profiles_[device], tokens);
}

absl::Time PopulationDevices::NextOnline(size_t device, absl::Time from) const {
  return NextAvailable(profiles_[device], NumberOf(device), from);
}

absl::Time PopulationDevices::NextOffline(size_t device,
                                          absl::Time from) const {
  const DeviceProfile& profile = profiles_[device];
  const auto always = [](float chance) { return chance >= 1; };
  if (std::all_of(profile.available.begin(), profile.available.end(), always)) {
    return absl::InfiniteFuture();
  }
  const int64_t first = HourOf(from);
  for (int64_t hour = first + 1; hour <= first + kSearchedHours; ++hour) {
    if (!IsAvailable(profile, NumberOf(device), hour)) {
      return absl::UnixEpoch() + absl::Hours(hour);
    }
  }
  return absl::InfiniteFuture();
}

std::optional<double> PopulationDevices::VanishesAt(size_t device,
                                                    uint32_t round,
                                                    uint32_t attempt) const {
  return DropsOutAt(profiles_[device], NumberOf(device),
                    {.run_seed = seed_, .round = round, .attempt = attempt});
}

absl::Duration PopulationDevices::GoneFor(size_t /*device*/) const {
  return absl::Hours(1);
}

}  // namespace edgetune
