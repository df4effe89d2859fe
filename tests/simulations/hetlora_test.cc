// Devices of unequal largest ranks (lora.rule "hetlora") between the real
// coordinator and real clients in one process. Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/rank_slices.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::kDevices;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;

// Of the plan's 2; 0: any; more than the plan's.
constexpr int64_t kRanks[] = {1, 0, 2, 4};
constexpr int64_t kTrained[] = {1, 2, 2, 2};

class HetLoraTest : public ::testing::Test {
 protected:
  HetLoraTest() : world_(kDevices) {
    world_.run.plan.mutable_lora()->set_rule("hetlora");
    world_.run.plan.mutable_rounds()->set_weights("equal");
    layout_ = *AdapterLayout(world_.run.plan);
  }

  Device& Add(int i, int64_t rank) {
    Device& device = world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]);
    device.file.train.rank = rank;
    return device;
  }

  // Each device's delta is that of its own slices; a slice moves by the mean of
  // those that have it.
  void ExpectHetLora() {
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
    const std::vector<ParameterVector> adapters = world_.Adapters();
    const std::vector<uint32_t> slices = SlicesOf(layout_);
    for (uint32_t round = 0; round + 1 < adapters.size(); ++round) {
      std::vector<double> sum(layout_.size()), count(layout_.size());
      for (int i = 0; i < kDevices; ++i) {
        EXPECT_EQ(engines_[i].incoming()[round],
                  FirstSlices(adapters[round], layout_, kTrained[i]))
            << round << " " << i;
        const ParameterVector padded =
            PadSlices(engines_[i].deltas()[round], layout_, kTrained[i]);
        for (size_t k = 0; k < sum.size(); ++k) {
          if (slices[k] >= kTrained[i]) continue;
          sum[k] += padded[k];
          ++count[k];
        }
      }
      for (size_t k = 0; k < sum.size(); ++k) {
        EXPECT_EQ(count[k], slices[k] == 0 ? 4 : 3);
        EXPECT_NEAR(adapters[round + 1][k] - adapters[round][k],
                    sum[k] / count[k], 1e-7)
            << k;
      }
    }
  }

  RecordingEngine engines_[kDevices];  // before the world
  ParameterLayout layout_;
  World world_;
};

TEST_F(HetLoraTest, EachSliceIsTheMeanOfThoseThatTrainedIt) {
  for (int i = 0; i < kDevices; ++i) Add(i, kRanks[i]).Start();
  world_.Submit();
  ExpectHetLora();
  for (int i = 0; i < kDevices; ++i) {
    EXPECT_EQ(engines_[i].evaluated(),
              FirstSlices(world_.Adapters().back(), layout_, kTrained[i]));
  }
}

// What a report said of its rank is as durable as its update.
TEST_F(HetLoraTest, ACoordinatorRemadeInMidRoundFoldsTheSame) {
  std::atomic<bool> held{true};
  engines_[3].fake.on_step = [&](int64_t) {
    while (held && engines_[3].fake.trainings > 1) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  };
  for (int i = 0; i < kDevices; ++i) Add(i, kRanks[i]).Start();
  world_.Submit();
  // Three of four have reported in the second round.
  world_.WaitUntil([&](const v1::RunStatus& status) {
    int reported = 0;
    for (const v1::RunEvent& event : status.events()) {
      reported += event.text().find("round 1: ") == 0 &&
                  event.text().find("accepted") != std::string::npos;
    }
    return reported == kDevices - 1;
  });
  world_.StopServer();
  held = false;
  world_.StartServer();
  ExpectHetLora();
}

TEST_F(HetLoraTest, AnotherRuleWantsTheWholeRankAndTheDeviceDeclines) {
  world_.run.plan.mutable_lora()->set_rule("fedit");
  world_.run.plan.mutable_rounds()->set_quorum(3);
  for (int i = 0; i < kDevices; ++i) Add(i, kRanks[i]).Start();
  world_.Submit();
  const v1::RunStatus status = world_.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  EXPECT_EQ(engines_[0].fake.trainings, 0);
  EXPECT_EQ(engines_[1].fake.trainings, 3);
  bool told = false;
  for (const v1::RunEvent& event : status.events()) {
    told = told || event.text().find("rank 2, this device trains at most 1") !=
                       std::string::npos;
  }
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace edgetune
