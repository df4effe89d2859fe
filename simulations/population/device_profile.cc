#include "simulations/population/device_profile.h"

#include "base/random.h"

namespace edgetune {
namespace {

constexpr int64_t kHoursADay = 24;

absl::Duration TransferTime(const DeviceProfile& profile, uint64_t bytes,
                            double bytes_s) {
  return profile.latency + absl::Seconds(static_cast<double>(bytes) / bytes_s);
}

}  // namespace

absl::Duration DownloadTime(const DeviceProfile& profile, uint64_t bytes) {
  return TransferTime(profile, bytes, profile.down_bytes_s);
}

absl::Duration UploadTime(const DeviceProfile& profile, uint64_t bytes) {
  return TransferTime(profile, bytes, profile.up_bytes_s);
}

absl::Duration TrainTime(const DeviceProfile& profile, uint64_t tokens) {
  return absl::Seconds(static_cast<double>(tokens) / profile.speed);
}

int64_t HourOf(absl::Time time) {
  return absl::ToInt64Hours(
      absl::Floor(time - absl::UnixEpoch(), absl::Hours(1)));
}

bool IsAvailable(const DeviceProfile& profile, DeviceNumber device,
                 int64_t hour) {
  const int64_t of_day = (hour % kHoursADay + kHoursADay) % kHoursADay;
  const double chance = profile.available[static_cast<size_t>(of_day)];
  Random draw = Random(device.seed)
                    .Split("available", device.client)
                    .Split("hour", static_cast<uint64_t>(hour));
  return draw.Uniform() < chance;
}

absl::Time NextAvailable(const DeviceProfile& profile, DeviceNumber device,
                         absl::Time from) {
  const int64_t now = HourOf(from);
  if (IsAvailable(profile, device, now)) return from;
  for (int64_t hour = now + 1; hour <= now + kSearchedHours; ++hour) {
    if (!IsAvailable(profile, device, hour)) continue;
    return absl::UnixEpoch() + absl::Hours(hour);
  }
  return absl::InfiniteFuture();
}

std::optional<double> DropsOutAt(const DeviceProfile& profile,
                                 DeviceNumber device,
                                 const SessionNumber& session) {
  Random draw = Random(device.seed)
                    .Split("dropout", device.client)
                    .Split("run", session.run_seed)
                    .Split("round", session.round)
                    .Split("attempt", session.attempt);
  if (draw.Uniform() >= profile.dropout) return std::nullopt;
  return draw.Uniform();
}

}  // namespace edgetune
