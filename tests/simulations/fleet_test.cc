// Rounds between the real coordinator and real clients in one process. Nothing
// here asserts a duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/status.h"
#include "protos/plan_check.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::FakeEngine;
using testing::World;

void AddFour(World& world, FakeEngine& engine) {
  int examples = 8;
  for (const char* name : {"animal", "food", "motion", "artifact"}) {
    world.AddDevice(name, examples, &engine).Start();
    examples += 5;
  }
}

void ExpectFinished(const v1::RunStatus& status, uint32_t updates) {
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  EXPECT_EQ(status.rounds_done(), 3u);
  ASSERT_EQ(status.measures_size(), 4);
  for (int i = 1; i < 4; ++i) {
    EXPECT_LT(
        status.measures(i).nll_sum() / status.measures(i).tokens(),
        status.measures(i - 1).nll_sum() / status.measures(i - 1).tokens());
  }
  ASSERT_EQ(status.cards_size(), 4);
  for (int i = 1; i < 4; ++i) {
    const auto card = ParseCard(status.cards(i).payload());
    ASSERT_TRUE(card.ok());
    EXPECT_EQ(card->updates(), updates);
  }
}

TEST(FleetTest, FourClientsFinishThreeRoundsAndGetBetter) {
  FakeEngine engine;
  World world(4);
  AddFour(world, engine);
  world.Submit();
  ExpectFinished(world.WaitEnded(), 4);
  EXPECT_EQ(engine.trainings, 12);
  EXPECT_EQ(engine.trainers, 4);
}

TEST(FleetTest, WeightsAreTheClientsTrainingExamples) {
  FakeEngine engine;
  World world(4);
  AddFour(world, engine);
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  const auto card = ParseCard(status.cards(1).payload());
  // 8, 13, 18, 23 lines less a quarter held out: 2, 3, 5 (4.5 rounds up), 6.
  EXPECT_EQ(card->weight_sum(), 6 + 10 + 13 + 17);
}

class RuleTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Rules, RuleTest,
                         ::testing::Values("fedit", "ffa", "rolora"));

TEST_P(RuleTest, OneClientEqualsLocalTrainingBitForBit) {
  FakeEngine engine;
  World world(1);
  world.run.plan.mutable_lora()->set_rule(GetParam());
  world.ExpectOneDeviceEqualsLocalTraining(engine);
}

// Of which factors a coordinate changed between two adapters: "A", "B", "AB".
std::string Changed(const ParameterLayout& layout, const ParameterVector& a,
                    const ParameterVector& b) {
  std::set<char> factors;
  for (const auto& tensor : layout.tensors()) {
    const auto at = static_cast<ptrdiff_t>(tensor.offset);
    const auto end = at + static_cast<ptrdiff_t>(tensor.count);
    if (!std::equal(a.begin() + at, a.begin() + end, b.begin() + at)) {
      factors.insert(tensor.name.back());
    }
  }
  return {factors.begin(), factors.end()};
}

// What each round may move, from the papers' descriptions (plan_check.h).
TEST_P(RuleTest, OnlyTheFactorsOfTheRuleMoveInAnyPublishedVersion) {
  const std::map<std::string, std::vector<std::string>> wanted = {
      {"fedit", {"AB", "AB", "AB"}},
      {"ffa", {"B", "B", "B"}},
      {"rolora", {"B", "A", "B"}}};
  FakeEngine engine;
  World world(4);
  world.run.plan.mutable_lora()->set_rule(GetParam());
  AddFour(world, engine);
  world.Submit();
  ExpectFinished(world.WaitEnded(), 4);
  const auto adapters = world.Adapters();
  ASSERT_EQ(adapters.size(), 4u);
  const ParameterLayout layout = *AdapterLayout(world.run.plan);
  for (size_t round = 0; round < 3; ++round) {
    EXPECT_EQ(Changed(layout, adapters[round], adapters[round + 1]),
              wanted.at(GetParam())[round]);
  }
}

TEST(FleetTest, UplinkUnderFfaIsTheSizeOfB) {
  FakeEngine engine;
  World world(4);
  world.run.plan.mutable_lora()->set_rule("ffa");
  AddFour(world, engine);
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  uint64_t b = 0;  // coordinates
  for (const v1::LayoutTensor& tensor : world.run.plan.lora().layout()) {
    if (tensor.name().back() == 'B') b += tensor.shape(0) * tensor.shape(1);
  }
  EXPECT_EQ(status.bytes_up(), 4 * 3 * b * 4);
}

TEST(FleetTest, SecondRunMovesNoBaseModel) {
  FakeEngine engine;
  World world(4);
  AddFour(world, engine);
  world.Submit();
  const v1::RunStatus first = world.WaitEnded();
  world.run.plan.set_nonce(std::string(32, 'n'));
  world.Submit();
  const v1::RunStatus second = world.WaitEnded();
  ExpectFinished(second, 4);
  EXPECT_EQ(first.base_bytes_down(),
            4 * world.run.plan.model().parts(0).size());
  EXPECT_EQ(second.base_bytes_down(), 0u);
  EXPECT_EQ(second.measures(3).nll_sum(), first.measures(3).nll_sum());
}

TEST(FleetTest, BrokenTransfersAndStreamsAreMadeGood) {
  FakeEngine engine;
  World world(4);
  AddFour(world, engine);
  uint64_t bytes = 0;
  for (auto& [name, device] : world.devices) {
    device->transport->FailTransfer(0, 1000 + bytes);
    device->transport->FailTransfer(1, 0);
    device->transport->FailTransfer(3, 10 + bytes);
    device->transport->FailTransfer(4, 500);
    bytes += 700;
  }
  engine.on_step = [&world](int64_t step) {
    if (step == 1) world.devices["food"]->transport->CutStream();
  };
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ExpectFinished(status, 4);
  EXPECT_EQ(engine.trainings, 12);
  // Nothing crossed twice: base once, the adapter in each of four sessions.
  const uint64_t adapter = world.run.adapter_blob.size();
  EXPECT_EQ(status.bytes_down(),
            4 * (world.run.plan.model().parts(0).size() + 4 * adapter));
  EXPECT_EQ(status.bytes_up(), 4 * 3 * adapter);
}

TEST(FleetTest, ClientStoppedInMidTrainingTakesPartOnceAfterItsRestart) {
  FakeEngine engine, slow;
  std::atomic<bool> held{true}, reached{false};
  World world(4);
  slow.on_step = [&](int64_t) {
    reached = true;
    while (held) absl::SleepFor(absl::Milliseconds(1));
  };
  AddFour(world, engine);
  (void)world.devices["animal"]->Stop();
  Device& device = world.AddDevice("animal", 8, &slow);
  device.Start();
  world.Submit();
  world.WaitUntil([&](const auto&) { return reached.load(); });
  std::thread release([&] {
    absl::SleepFor(absl::Milliseconds(50));
    held = false;
  });
  EXPECT_TRUE(device.Stop().ok());
  release.join();
  device.Start();
  ExpectFinished(world.WaitEnded(), 4);
  // Round 0 twice begun; each of the three rounds once finished.
  EXPECT_EQ(slow.trainings, 4);
}

TEST(FleetTest, CoordinatorRemadeInMidRoundContinuesIt) {
  FakeEngine engine;
  std::atomic<bool> held{true};
  std::atomic<int> reached{0};
  World world(4);
  engine.on_step = [&](int64_t step) {
    if (step == 1) ++reached;
    while (step == 1 && held) absl::SleepFor(absl::Milliseconds(1));
  };
  AddFour(world, engine);
  world.Submit();
  world.WaitUntil([&](const auto&) { return reached == 4; });
  world.StopServer();
  held = false;
  absl::SleepFor(absl::Milliseconds(30));
  world.StartServer();
  ExpectFinished(world.WaitEnded(), 4);
  EXPECT_EQ(engine.trainings, 12);
}

TEST(FleetTest, ClientsOnceReturnWhenTheirReportIsAccepted) {
  FakeEngine engine;
  World world(2);
  Device& first = world.AddDevice("animal", 8, &engine);
  Device& second = world.AddDevice("food", 8, &engine);
  world.Submit();
  first.Start(/*once=*/true);
  second.Start(/*once=*/true);
  EXPECT_TRUE(first.Wait().ok());
  EXPECT_TRUE(second.Wait().ok());
  EXPECT_EQ(engine.trainings, 2);
}

TEST(FleetTest, ClientOnceWithoutWorkReturns) {
  FakeEngine engine;
  World world(2);
  Device& device = world.AddDevice("animal", 8, &engine);
  device.Start(/*once=*/true);
  EXPECT_TRUE(device.Wait().ok());
  EXPECT_EQ(engine.trainings, 0);
}

TEST(FleetTest, BadDataEndsTheClientAndIsToldToTheCoordinator) {
  FakeEngine engine;
  World world(1);
  world.run.plan.mutable_rounds()->set_attempts(1);
  Device& device = world.AddDevice("animal", 3, &engine);
  std::ofstream(device.file.data.train, std::ios::app) << "{secret\n";
  world.Submit();
  device.Start();
  const absl::Status status = device.Wait();
  EXPECT_EQ(ExitCodeOf(status), 4) << status;
  EXPECT_NE(status.message().find("animal.jsonl:4"), std::string::npos);
  const v1::RunStatus run = world.WaitEnded();
  EXPECT_EQ(run.state(), v1::RunStatus::FAILED);
  EXPECT_EQ(run.ShortDebugString().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace edgetune
