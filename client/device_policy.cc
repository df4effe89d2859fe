#include "client/device_policy.h"

#include <fmt/format.h>

#include "absl/time/civil_time.h"

namespace edgetune {

PolicyAnswer CheckPolicy(const ClientFile::Policy& policy, absl::Time now,
                         absl::TimeZone zone) {
  if (!policy.window.has_value() ||
      policy.window->start_minute == policy.window->end_minute) {
    return {};
  }
  const DailyWindow& window = *policy.window;
  const absl::CivilDay today = absl::ToCivilDay(now, zone);
  const int length =
      (window.end_minute - window.start_minute + 24 * 60) % (24 * 60);
  // Yesterday's window may still be open; tomorrow's may be the next.
  for (int day = -1; day <= 2; ++day) {
    const absl::CivilMinute start =
        absl::CivilMinute(today + day) + window.start_minute;
    const absl::Time opens = absl::FromCivil(start, zone);
    const absl::Time closes = absl::FromCivil(start + length, zone);
    if (now < opens) return {false, opens};
    if (now < closes) return {true, closes};
  }
  return {false, now + absl::Hours(1)};
}

std::string WindowText(const DailyWindow& window) {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", window.start_minute / 60,
                     window.start_minute % 60, window.end_minute / 60,
                     window.end_minute % 60);
}

}  // namespace edgetune
