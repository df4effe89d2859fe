#include "client/update_pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace edgetune {
namespace {

TEST(UpdatePipelineTest, ClearUpdateIsLittleEndianFloat32) {
  // Bytes of 1.0 and -2.5 from Python's struct.pack('<2f', 1, -2.5).
  const std::vector<float> delta = {1.0f, -2.5f};
  EXPECT_THAT(*MakeClearUpdate(delta, 64),
              ::testing::ElementsAre(0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0));
}

TEST(UpdatePipelineTest, CoordinateAtTheBoundPasses) {
  const std::vector<float> delta = {-64.0f, 64.0f};
  EXPECT_TRUE(MakeClearUpdate(delta, 64).ok());
}

TEST(UpdatePipelineTest, CoordinateBeyondTheBoundIsNamed) {
  const std::vector<float> delta = {0, 64.5f};
  const auto update = MakeClearUpdate(delta, 64);
  EXPECT_TRUE(absl::IsAborted(update.status()));
  EXPECT_NE(update.status().message().find("coordinate 1"), std::string::npos);
  EXPECT_EQ(update.status().message().find("64.5"), std::string::npos);
}

TEST(UpdatePipelineTest, WhatIsNotFiniteNeverLeaves) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    const std::vector<float> delta = {0, 1, bad};
    EXPECT_TRUE(absl::IsAborted(MakeClearUpdate(delta, 64).status()));
  }
}

}  // namespace
}  // namespace edgetune
