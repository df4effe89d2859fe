#include "simulations/runner/population_devices.h"

#include <gtest/gtest.h>

#include "simulations/runner/simulation.h"

namespace edgetune {
namespace {

PopulationSpec OneClass(const DeviceProfile& profile) {
  DeviceClass device;
  device.median = profile;
  return {.classes = {device}};
}

DeviceProfile Plain() {
  DeviceProfile profile;
  profile.speed = 100;
  profile.down_bytes_s = 1000;
  profile.up_bytes_s = 500;
  profile.latency = absl::Milliseconds(80);
  profile.available.fill(1);
  return profile;
}

TEST(PopulationDevicesTest, TimesAreThoseOfTheProfile) {
  const PopulationDevices devices(OneClass(Plain()), 3, 1);
  EXPECT_EQ(devices.Latency(2), absl::Milliseconds(40));
  EXPECT_EQ(devices.TrainingTime(0, 500), absl::Seconds(5));
  EXPECT_EQ(devices.EvaluationTime(0, 600), absl::Seconds(2));
  // The transfer and its round trip.
  EXPECT_EQ(devices.DownloadTime(1, 2000), absl::Milliseconds(2080));
  EXPECT_EQ(devices.UploadTime(1, 2000), absl::Milliseconds(4080));
}

TEST(PopulationDevicesTest, WhoIsAlwaysThereNeverGoes) {
  const PopulationDevices devices(OneClass(Plain()), 2, 1);
  const absl::Time start = SimulationStart();
  EXPECT_EQ(devices.NextOnline(0, start), start);
  EXPECT_EQ(devices.NextOffline(0, start), absl::InfiniteFuture());
  EXPECT_FALSE(devices.VanishesAt(0, 0, 0).has_value());
}

TEST(PopulationDevicesTest, HoursOfPresenceBeginAndEndWhenTheySay) {
  DeviceProfile night = Plain();
  night.available.fill(0);
  for (const int hour : {0, 1, 2, 22, 23}) night.available[hour] = 1;
  const PopulationDevices devices(OneClass(night), 1, 1);
  const absl::Time start = SimulationStart();
  EXPECT_EQ(devices.NextOnline(0, start), start);
  EXPECT_EQ(devices.NextOffline(0, start + absl::Minutes(30)),
            start + absl::Hours(3));
  EXPECT_EQ(devices.NextOnline(0, start + absl::Hours(3)),
            start + absl::Hours(22));
  EXPECT_EQ(devices.NextOffline(0, start + absl::Hours(22)),
            start + absl::Hours(27));
}

TEST(PopulationDevicesTest, MoreDevicesLeaveTheFirstAsTheyAre) {
  const PopulationSpec phones = *PresetPopulation("phones");
  const PopulationDevices few(phones, 3, 7), many(phones, 50, 7);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(few.profile(i).speed, many.profile(i).speed);
    EXPECT_EQ(few.NextOffline(i, SimulationStart()),
              many.NextOffline(i, SimulationStart()));
  }
}

}  // namespace
}  // namespace edgetune
