#ifndef EDGETUNE_SIMULATIONS_POPULATION_DEVICE_PROFILE_H_
#define EDGETUNE_SIMULATIONS_POPULATION_DEVICE_PROFILE_H_

// What a simulated device can do and when it is there. Pure functions: what
// happens to a device depends on its profile and on the numbers named here,
// never on what was asked before or of another device. Stateless.

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace edgetune {

// Bytes in the units that traces and presets are written in.
inline constexpr double kMegabyte = 1e6;
inline constexpr double kMegabit = 1e6 / 8;

struct DeviceProfile {
  std::string device_class;
  double speed = 0;           // training tokens a second, above 0
  uint64_t memory_bytes = 0;  // that training may take
  double down_bytes_s = 0;    // bytes a second to the device, above 0
  double up_bytes_s = 0;      // and from it
  absl::Duration latency;     // of each transfer, once: its round trip
  double dropout = 0;  // chance that a session ends without a word, 0 to 1
  // Chance of being on-line in each hour of the day (UTC), 0 to 1.
  std::array<float, 24> available = {};
  int64_t rank = 0;  // largest of adapters that it trains; 0: any
};

absl::Duration DownloadTime(const DeviceProfile& profile, uint64_t bytes);
absl::Duration UploadTime(const DeviceProfile& profile, uint64_t bytes);
absl::Duration TrainTime(const DeviceProfile& profile, uint64_t tokens);

// Which device of which population.
struct DeviceNumber {
  uint64_t seed = 0;    // of the population
  uint64_t client = 0;  // from 0
};

// Which of its sessions.
struct SessionNumber {
  uint64_t run_seed = 0;
  uint64_t round = 0;
  uint64_t attempt = 0;
};

// Hours since the Unix epoch, where a VirtualClock starts: hour 0 is the first
// of a day. `time` is finite.
int64_t HourOf(absl::Time time);

// Whether the device is on-line in that hour, the whole of it: true with the
// chance that its profile gives for that hour of the day, each hour drawn by
// itself.
bool IsAvailable(const DeviceProfile& profile, DeviceNumber device,
                 int64_t hour);

// `from` if the device is on-line then, else the start of the next hour in
// which it is; InfiniteFuture when that is more than kSearchedHours away.
inline constexpr int64_t kSearchedHours = 366 * 24;
absl::Time NextAvailable(const DeviceProfile& profile, DeviceNumber device,
                         absl::Time from);

// The fraction of its session, in [0, 1), after which the device vanishes;
// nullopt: it stays to the end. Any fraction is as likely as another.
std::optional<double> DropsOutAt(const DeviceProfile& profile,
                                 DeviceNumber device,
                                 const SessionNumber& session);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_DEVICE_PROFILE_H_
