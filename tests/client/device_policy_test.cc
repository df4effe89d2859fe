#include "client/device_policy.h"

#include <gtest/gtest.h>

namespace edgetune {
namespace {

// Expected instants computed with Python's zoneinfo for Europe/Berlin, where
// 2026-03-29 has 23 hours and 2026-10-25 has 25.
absl::TimeZone Berlin() {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone("Europe/Berlin", &zone));
  return zone;
}

absl::Time Utc(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", text, &time, &error)) << error;
  return time;
}

ClientFile::Policy Window(int start, int end) {
  ClientFile::Policy policy;
  policy.window = DailyWindow{start * 60, end * 60};
  return policy;
}

void ExpectAnswer(const ClientFile::Policy& policy, const std::string& now,
                  bool allowed, const std::string& until,
                  absl::TimeZone zone = absl::UTCTimeZone()) {
  const PolicyAnswer answer = CheckPolicy(policy, Utc(now), zone);
  EXPECT_EQ(answer.allowed, allowed) << now;
  EXPECT_EQ(
      absl::FormatTime("%Y-%m-%d %H:%M", answer.until, absl::UTCTimeZone()),
      until);
}

TEST(DevicePolicyTest, WithoutAWindowWorkIsAlwaysAllowed) {
  const PolicyAnswer answer =
      CheckPolicy({}, Utc("2026-01-01 12:00"), absl::UTCTimeZone());
  EXPECT_TRUE(answer.allowed);
  EXPECT_EQ(answer.until, absl::InfiniteFuture());
}

TEST(DevicePolicyTest, EmptyWindowIsTheWholeDay) {
  EXPECT_TRUE(
      CheckPolicy(Window(8, 8), Utc("2026-01-01 12:00"), absl::UTCTimeZone())
          .allowed);
}

TEST(DevicePolicyTest, DayWindowOpensAndClosesTheSameDay) {
  ExpectAnswer(Window(9, 17), "2026-01-01 08:59", false, "2026-01-01 09:00");
  ExpectAnswer(Window(9, 17), "2026-01-01 09:00", true, "2026-01-01 17:00");
  ExpectAnswer(Window(9, 17), "2026-01-01 16:59", true, "2026-01-01 17:00");
  ExpectAnswer(Window(9, 17), "2026-01-01 17:00", false, "2026-01-02 09:00");
}

TEST(DevicePolicyTest, NightWindowRunsOverMidnight) {
  ExpectAnswer(Window(22, 6), "2026-01-01 21:59", false, "2026-01-01 22:00");
  ExpectAnswer(Window(22, 6), "2026-01-01 23:59", true, "2026-01-02 06:00");
  ExpectAnswer(Window(22, 6), "2026-01-02 00:00", true, "2026-01-02 06:00");
  ExpectAnswer(Window(22, 6), "2026-01-02 05:59", true, "2026-01-02 06:00");
  ExpectAnswer(Window(22, 6), "2026-01-02 06:00", false, "2026-01-02 22:00");
}

TEST(DevicePolicyTest, WindowIsOfTheLocalClock) {
  ExpectAnswer(Window(22, 6), "2026-01-01 20:30", false, "2026-01-01 21:00",
               Berlin());
  ExpectAnswer(Window(22, 6), "2026-07-01 20:30", true, "2026-07-02 04:00",
               Berlin());
}

TEST(DevicePolicyTest, WindowIsShorterOrLongerWhereClocksJump) {
  ExpectAnswer(Window(22, 6), "2026-03-28 22:00", true, "2026-03-29 04:00",
               Berlin());
  ExpectAnswer(Window(22, 6), "2026-10-24 22:00", true, "2026-10-25 05:00",
               Berlin());
}

TEST(DevicePolicyTest, WindowIsShownAsItIsWritten) {
  EXPECT_EQ(WindowText({22 * 60, 6 * 60 + 30}), "22:00-06:30");
}

}  // namespace
}  // namespace edgetune
