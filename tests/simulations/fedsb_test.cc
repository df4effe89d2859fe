// Cores between fixed factors (lora.rule "fedsb") between the real coordinator
// and real clients in one process. Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/factors.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::kDevices;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;

class FedSbTest : public ::testing::Test {
 protected:
  FedSbTest() : world_(kDevices) {
    UseFedSb(world_.run);
    world_.run.plan.mutable_rounds()->set_weights("equal");
    layout_ = *AdapterLayout(world_.run.plan);
  }
  // A and B never move, R by the mean of what devices sent.
  void ExpectFedSb(double tolerance) {
    for (int i = 0; i < kDevices; ++i) {
      world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]).Start();
    }
    world_.Submit();
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
    const auto adapters = world_.Adapters();
    for (size_t round = 0; round + 1 < adapters.size(); ++round) {
      for (const Factors fixed : {Factors::kA, Factors::kB}) {
        EXPECT_EQ(Gather(adapters[round + 1], RangesOf(layout_, fixed)),
                  Gather(adapters[0], RangesOf(layout_, fixed)));
      }
      const auto cores = RangesOf(layout_, Factors::kCore);
      const ParameterVector before = Gather(adapters[round], cores);
      const ParameterVector after = Gather(adapters[round + 1], cores);
      for (size_t k = 0; k < before.size(); ++k) {
        double mean = 0;
        for (const RecordingEngine& engine : engines_) {
          ASSERT_EQ(engine.deltas()[round].size(), before.size());
          mean += engine.deltas()[round][k] / kDevices;
        }
        EXPECT_NEAR(after[k] - before[k], mean, tolerance) << round << " " << k;
      }
    }
  }

  RecordingEngine engines_[kDevices];  // before the world
  ParameterLayout layout_;
  World world_;
};

TEST_F(FedSbTest, OnlyCoresAreSentAndTheyAreAveraged) {
  ExpectFedSb(1e-7);
  EXPECT_EQ(world_.Status().bytes_up(),
            kDevices * 3 * UpdateLayout(world_.run.plan, 0)->size() * 4);
}

TEST_F(FedSbTest, MaskedItIsTheSame) {
  testing::Mask(world_.run.plan);
  ExpectFedSb(1e-6);
  const auto shape =
      *MaskedShapeOf(world_.run.plan, 0, v1::RoundManifest::TRAIN);
  EXPECT_EQ(shape.coordinates, UpdateLayout(world_.run.plan, 0)->size());
}

TEST(OneFedSbDeviceTest, EqualsLocalTrainingBitForBit) {
  testing::FakeEngine engine;
  World world(1);
  UseFedSb(world.run);
  world.ExpectOneDeviceEqualsLocalTraining(engine);
}

}  // namespace
}  // namespace edgetune
