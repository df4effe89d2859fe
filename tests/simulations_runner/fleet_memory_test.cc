// What a simulation takes is predicted by sums that are written here again.

#include "simulations/runner/fleet_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

FleetMemory Example() {
  return {.parts = {{"program and examples", 100'000'000},
                    {"training of 2 workers", 500'000'000},
                    {"1000 sessions", 50'000'000}},
          .fixed = 650'000'000,
          .least_blobs = 20'000'000,
          .all_blobs = 4'000'000'000};
}

TEST(FleetMemoryTest, WhatACeilingLeavesIsForBlobs) {
  EXPECT_EQ(*BlobsWithin(Example(), 670'000'000), 20'000'000u);
  EXPECT_EQ(*BlobsWithin(Example(), 8'000'000'000), 7'350'000'000u);
}

TEST(FleetMemoryTest, ACeilingBelowTheLeastSaysWhatTakesMostAndWhatToChange) {
  const absl::Status status = BlobsWithin(Example(), 669'999'999).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(ExitCodeOf(status), 4);
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("at least 670.0 MB, --memory is 670.0 MB: program and examples "
                "100.0 MB, training of 2 workers 500.0 MB, 1000 sessions 50.0 "
                "MB, updates 20.0 MB"));
  EXPECT_EQ(HintOf(status), "fewer --workers");
  FleetMemory many = Example();
  many.parts[2].bytes = 600'000'000;
  EXPECT_EQ(HintOf(BlobsWithin(many, 1).status()), "a smaller rounds.cohort");
}

}  // namespace
}  // namespace edgetune
