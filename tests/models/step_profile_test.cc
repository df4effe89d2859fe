#include "models/step_profile.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace edgetune {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLeast = 1e-3;  // seconds that Work takes, or more

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void Work() {
  const auto begin = Clock::now();
  while (SecondsSince(begin) < kLeast) {
  }
}

PartTime Of(const StepProfile& profile, StepPart part) {
  return profile[static_cast<size_t>(part)];
}

double Sum(const StepProfile& profile) {
  double sum = 0;
  for (const PartTime& part : profile) sum += part.seconds;
  return sum;
}

TEST(StepProfileTest, TheOutermostScopeHasTheTimeAndTheOperations) {
  StepProfiler profiler;
  {
    const ProfileScope attention(StepPart::kAttention);
    const ProfileScope products(StepPart::kProducts, 100);
    Work();
  }
  {
    const ProfileScope products(StepPart::kProducts, 7);
    const ProfileScope parts(StepPart::kProducts, 7);
    Work();
  }
  const StepProfile profile = profiler.Read();
  EXPECT_GE(Of(profile, StepPart::kAttention).seconds, kLeast);
  EXPECT_EQ(Of(profile, StepPart::kAttention).flops, 0);
  EXPECT_GE(Of(profile, StepPart::kProducts).seconds, kLeast);
  EXPECT_EQ(Of(profile, StepPart::kProducts).flops, 7);
  EXPECT_EQ(Of(profile, StepPart::kHead).seconds, 0);
}

TEST(StepProfileTest, ThePartsAreAllOfTheTime) {
  const auto outside = Clock::now();
  StepProfiler profiler;
  const auto inside = Clock::now();
  Work();
  for (const StepPart part : {StepPart::kNorms, StepPart::kHead}) {
    const ProfileScope scope(part);
    Work();
  }
  const double least = SecondsSince(inside);
  const StepProfile profile = profiler.Read();
  const double most = SecondsSince(outside);
  EXPECT_GE(Of(profile, StepPart::kRest).seconds, kLeast);
  EXPECT_GE(Sum(profile), least - 1e-9);
  EXPECT_LE(Sum(profile), most + 1e-9);
}

TEST(StepProfileTest, AnOpenScopeIsReadUpToNow) {
  StepProfiler profiler;
  const ProfileScope scope(StepPart::kHead);
  Work();
  const double first = Of(profiler.Read(), StepPart::kHead).seconds;
  Work();
  const double second = Of(profiler.Read(), StepPart::kHead).seconds;
  EXPECT_GE(first, kLeast);
  EXPECT_GE(second, first + kLeast - 1e-9);
}

TEST(StepProfileTest, OtherThreadsAndOtherTimesDoNotCount) {
  const auto work = [] {
    const ProfileScope scope(StepPart::kProducts, 5);
    Work();
  };
  work();
  StepProfiler profiler;
  std::thread(work).join();
  const StepProfile profile = profiler.Read();
  EXPECT_EQ(Of(profile, StepPart::kProducts).seconds, 0);
  EXPECT_EQ(Of(profile, StepPart::kProducts).flops, 0);
  EXPECT_GE(Of(profile, StepPart::kRest).seconds, kLeast);
}

}  // namespace
}  // namespace edgetune
