#include "simulations/population/device_profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "tests/simulations_population/seeds.h"

namespace edgetune {
namespace {

using testing::kSeeds;

DeviceProfile Sample() {
  DeviceProfile out;
  out.speed = 80;
  out.down_bytes_s = 5e6;
  out.up_bytes_s = 1.25e6;
  out.latency = absl::Milliseconds(40);
  out.dropout = 0.1;
  for (size_t hour = 0; hour < 24; ++hour) {
    out.available[hour] = static_cast<float>(hour) / 23;
  }
  return out;
}

TEST(DeviceProfileTest, TimesFollowFromTheRates) {
  const DeviceProfile profile = Sample();
  EXPECT_EQ(DownloadTime(profile, 10'000'000), absl::Milliseconds(2040));
  EXPECT_EQ(UploadTime(profile, 10'000'000), absl::Milliseconds(8040));
  EXPECT_EQ(DownloadTime(profile, 0), absl::Milliseconds(40));
  EXPECT_EQ(TrainTime(profile, 200), absl::Milliseconds(2500));
  EXPECT_EQ(TrainTime(profile, 0), absl::ZeroDuration());
}

TEST(DeviceProfileTest, HoursAreThoseSinceTheEpoch) {
  const absl::Time start = absl::UnixEpoch();
  EXPECT_EQ(HourOf(start), 0);
  EXPECT_EQ(HourOf(start + absl::Hours(25) - absl::Nanoseconds(1)), 24);
  EXPECT_EQ(HourOf(start - absl::Nanoseconds(1)), -1);
}

// 10,000 draws for each hour of the day and seed: binomial, six deviations,
// 2e-9 for each of 120.
TEST(DeviceProfileTest, IsOnLineAsOftenAsTheHourOfTheDaySays) {
  const DeviceProfile profile = Sample();
  for (const uint64_t seed : kSeeds) {
    for (int64_t hour = 0; hour < 24; ++hour) {
      int count = 0;
      for (uint64_t client = 0; client < 50; ++client) {
        for (int64_t day = -100; day < 100; ++day) {
          count += IsAvailable(profile, {seed, client}, 24 * day + hour);
        }
      }
      const double p = profile.available[static_cast<size_t>(hour)];
      EXPECT_NEAR(count, 10000 * p, 6 * std::sqrt(10000 * p * (1 - p)));
    }
  }
}

// Clients, hours and seeds share no draws: the chance that both of a pair are
// there is that of each, squared. Binomial with p = 1/4, six deviations.
TEST(DeviceProfileTest, DrawsEveryHourOfEveryDeviceByItself) {
  DeviceProfile profile = Sample();
  profile.available.fill(0.5f);
  int clients = 0, hours = 0, seeds = 0;
  constexpr int64_t kHours = 20000;
  for (int64_t hour = 0; hour < kHours; ++hour) {
    if (!IsAvailable(profile, {7, 3}, hour)) continue;
    clients += IsAvailable(profile, {7, 4}, hour);
    hours += IsAvailable(profile, {7, 3}, hour + 1);
    seeds += IsAvailable(profile, {8, 3}, hour);
  }
  const double bound = 6 * std::sqrt(kHours * 3.0 / 16);
  for (const int count : {clients, hours, seeds}) {
    // Of 2-hour windows a third overlap, which at most doubles the variance.
    EXPECT_NEAR(count, kHours / 4.0, std::sqrt(2) * bound);
  }
}

// The search beside the plain question, asked hour by hour.
TEST(DeviceProfileTest, NextAvailableIsTheFirstHourOnLine) {
  DeviceProfile profile = Sample();
  profile.available.fill(0.05f);
  for (uint64_t client = 0; client < 200; ++client) {
    const DeviceNumber device = {5, client};
    const absl::Time from = absl::UnixEpoch() + absl::Minutes(61 * client + 7);
    int64_t hour = HourOf(from);
    while (!IsAvailable(profile, device, hour)) ++hour;
    const absl::Time wanted =
        std::max(from, absl::UnixEpoch() + absl::Hours(hour));
    EXPECT_EQ(NextAvailable(profile, device, from), wanted) << client;
  }
}

TEST(DeviceProfileTest, NextAvailableIsNowOrNeverAtTheEnds) {
  DeviceProfile profile = Sample();
  const absl::Time from = absl::UnixEpoch() + absl::Minutes(100);
  profile.available.fill(1);
  EXPECT_EQ(NextAvailable(profile, {1, 1}, from), from);
  profile.available.fill(0);
  EXPECT_EQ(NextAvailable(profile, {1, 1}, from), absl::InfiniteFuture());
  // One hour of the day.
  profile.available[5] = 1;
  EXPECT_EQ(NextAvailable(profile, {1, 1}, from + absl::Hours(48)),
            absl::UnixEpoch() + absl::Hours(48 + 5));
}

// 10,000 sessions a seed: binomial, six deviations of 30.
TEST(DeviceProfileTest, DropsOutAsOftenAsTheProfileSays) {
  const DeviceProfile profile = Sample();
  for (const uint64_t seed : kSeeds) {
    int count = 0;
    for (uint64_t client = 0; client < 100; ++client) {
      for (uint64_t round = 0; round < 100; ++round) {
        count += DropsOutAt(profile, {seed, client}, {9, round, 0}).has_value();
      }
    }
    EXPECT_NEAR(count, 1000, 180) << seed;
  }
}

TEST(DeviceProfileTest, DropsOutAnywhereInASession) {
  DeviceProfile profile = Sample();
  profile.dropout = 1;
  std::vector<double> at;
  for (uint64_t round = 0; round < 10000; ++round) {
    at.push_back(*DropsOutAt(profile, {3, 1}, {9, round, 0}));
  }
  std::ranges::sort(at);
  EXPECT_GE(at.front(), 0);
  EXPECT_LT(at.back(), 1);
  for (size_t i = 0; i < at.size(); ++i) {
    // Dvoretzky-Kiefer-Wolfowitz: above 0.0292 with chance below 1e-7.
    EXPECT_NEAR(at[i], static_cast<double>(i) / 10000, 0.0292);
  }
  profile.dropout = 0;
  EXPECT_EQ(DropsOutAt(profile, {3, 1}, {9, 0, 0}), std::nullopt);
}

TEST(DeviceProfileTest, EachNumberOfASessionCounts) {
  DeviceProfile profile = Sample();
  profile.dropout = 1;
  const std::vector<std::optional<double>> at = {
      DropsOutAt(profile, {1, 1}, {1, 1, 1}),
      DropsOutAt(profile, {2, 1}, {1, 1, 1}),
      DropsOutAt(profile, {1, 2}, {1, 1, 1}),
      DropsOutAt(profile, {1, 1}, {2, 1, 1}),
      DropsOutAt(profile, {1, 1}, {1, 2, 1}),
      DropsOutAt(profile, {1, 1}, {1, 1, 2})};
  EXPECT_EQ(std::set(at.begin(), at.end()).size(), at.size());
  EXPECT_EQ(DropsOutAt(profile, {1, 1}, {1, 1, 1}), at[0]);
}

}  // namespace
}  // namespace edgetune
