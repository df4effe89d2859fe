// Control variates between the real coordinator and real clients in one
// process: what each training is corrected by is what the paper's algorithm
// makes of the devices' own results, whoever is stopped and whatever attempt is
// given up. Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/own_vector_store.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::kDevices;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;

// As in the paper: Algorithm 1, option II, in double.
struct Paper {
  explicit Paper(size_t size) : server(size), own(kDevices, server) {}

  std::vector<double> server;
  std::vector<std::vector<double>> own;
};

class ScaffoldTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kRounds = 4;

  explicit ScaffoldTest(uint32_t cohort = kDevices) : world_(cohort) {
    UseScaffold(world_.run.plan, kDevices);
    world_.run.plan.mutable_rounds()->set_count(kRounds);
  }

  Device& Add(int i) {
    return world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]);
  }
  void AddAll() {
    for (int i = 0; i < kDevices; ++i) Add(i).Start();
  }
  void ExpectFinished() {
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
    adapters_ = world_.Adapters();
    ASSERT_EQ(adapters_.size(), 1 + kRounds);
  }

  // One round of the paper against what was recorded and published.
  void CheckRound(uint32_t round, Paper& paper) {
    const double way = ControlWay(world_.run.plan.train());
    std::vector<int> took_part;
    for (int i = 0; i < kDevices; ++i) {
      if (engines_[i].deltas().count(round)) took_part.push_back(i);
    }
    const auto n = static_cast<double>(took_part.size());
    const std::vector<double> server = paper.server;
    std::vector<double> step(server.size());
    for (const int i : took_part) {
      const ParameterVector delta = engines_[i].deltas()[round];
      const ParameterVector correction = engines_[i].corrections()[round];
      ASSERT_EQ(correction.size(), server.size());
      for (size_t k = 0; k < server.size(); ++k) {
        double& own = paper.own[i][k];
        // Variates of size 2 or so in float32, rounded in every round.
        EXPECT_NEAR(correction[k], server[k] - own, 3e-6) << round << " " << i;
        const double sent =
            std::clamp<double>(delta[k], -clamped_to_, clamped_to_);
        const double next = own - server[k] - sent / way;
        paper.server[k] += (next - own) / kDevices;
        own = next;
        step[k] += sent / n;
      }
    }
    for (size_t k = 0; k < step.size(); ++k) {
      // Both adapters are float32, near 0.1.
      EXPECT_NEAR(adapters_[round + 1][k] - adapters_[round][k], step[k], 3e-8);
    }
  }

  // All rounds; and, where all take part, that c is the mean of all c_i.
  void ExpectPaper() {
    ExpectFinished();
    Paper paper(adapters_[0].size());
    for (uint32_t round = 0; round < kRounds; ++round) {
      CheckRound(round, paper);
      if (world_.run.plan.rounds().cohort() < kDevices) continue;
      for (size_t k = 0; k < paper.server.size(); ++k) {
        double sum = 0;
        for (auto& engine : engines_) sum += engine.corrections()[round][k];
        EXPECT_NEAR(sum, 0, 3e-6) << round;
      }
    }
  }

  // Before the world: its devices work until it goes.
  RecordingEngine engines_[kDevices];
  double clamped_to_ = 1e9;
  std::vector<ParameterVector> adapters_;
  World world_;
};

TEST_F(ScaffoldTest, CorrectionsAreThoseOfThePaper) {
  AddAll();
  world_.Submit();
  ExpectPaper();
  // Devices do differ, so that the others' tests have something to miss.
  EXPECT_GT(std::abs(engines_[0].corrections()[1][0]), 1e-3);
}

TEST_F(ScaffoldTest, OfFactorBAloneToo) {
  world_.run.plan.mutable_lora()->set_rule("ffa");
  AddAll();
  world_.Submit();
  ExpectFinished();
  const size_t size = UpdateLayout(world_.run.plan, 0)->size();
  ASSERT_LT(size, adapters_[0].size());
  for (uint32_t round = 0; round < kRounds; ++round) {
    for (size_t k = 0; k < size; ++k) {
      double sum = 0;
      for (auto& engine : engines_) sum += engine.corrections()[round].at(k);
      EXPECT_NEAR(sum, 0, 3e-6) << round;
    }
  }
}

class TwoOfFourTest : public ScaffoldTest {
 protected:
  TwoOfFourTest() : ScaffoldTest(2) {}
};

TEST_F(TwoOfFourTest, CorrectionsAreThoseOfThePaper) {
  AddAll();
  world_.Submit();
  ExpectPaper();
}

// "Accepted" is said before the attempt is given up.
TEST_F(ScaffoldTest, AcceptedUpdatesOfAnAbandonedAttemptDoNotCount) {
  world_.run.plan.mutable_rounds()->set_reconnect_grace_ms(1);
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& cut = Add(3);
  std::atomic<int> lost{0};
  cut.lets_pass = [&](const v1::ClientMessage& message) {
    const v1::SessionKey& session = message.report().session();
    if (!message.has_report() || session.round() != 1 ||
        session.attempt() != 0) {
      return true;
    }
    ++lost;
    cut.transport->CutStream();
    return false;
  };
  cut.Start();
  world_.Submit();
  ExpectPaper();
  EXPECT_GT(lost, 0);
  EXPECT_EQ(engines_[0].fake.trainings, static_cast<int>(kRounds) + 1);
}

// Its report lost or delivered, it is stopped there and started again.
class StoppedTest : public ScaffoldTest,
                    public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Report, StoppedTest, ::testing::Bool());

TEST_P(StoppedTest, ADeviceStoppedAtItsReportGoesOnWithItsOwn) {
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& device = Add(3);
  std::atomic<bool> reached{false};
  device.lets_pass = [&](const v1::ClientMessage& message) {
    if (!message.has_report() || message.report().session().round() != 1 ||
        reached.exchange(true)) {
      return true;
    }
    return GetParam();
  };
  device.Start();
  world_.Submit();
  world_.WaitUntil([&](const auto&) { return reached.load(); });
  EXPECT_TRUE(device.Stop().ok());
  device.Start();
  ExpectPaper();
  EXPECT_EQ(engines_[3].fake.trainings, static_cast<int>(kRounds));
}

TEST_F(ScaffoldTest, ACoordinatorRemadeInMidRunComesToTheSameAdapter) {
  std::atomic<bool> held{true};
  std::atomic<int> reached{0};
  for (auto& engine : engines_) {
    engine.fake.on_step = [&](int64_t step) {
      if (step == 1) ++reached;
      while (step == 1 && reached > 2 * kDevices && held) {
        absl::SleepFor(absl::Milliseconds(1));
      }
    };
  }
  AddAll();
  world_.Submit();
  // In the third round.
  world_.WaitUntil([&](const auto&) { return reached == 3 * kDevices; });
  world_.StopServer();
  held = false;
  absl::SleepFor(absl::Milliseconds(30));
  world_.StartServer();
  ExpectPaper();
  const ParameterVector restarted = adapters_.back();

  RecordingEngine engines[kDevices];
  World other(kDevices);
  *other.run.plan.mutable_train() = world_.run.plan.train();
  UseScaffold(other.run.plan, kDevices);
  other.run.plan.mutable_rounds()->set_count(kRounds);
  for (int i = 0; i < kDevices; ++i) {
    other.AddDevice(kNames[i], 8 + 5 * i, &engines[i]).Start();
  }
  other.Submit();
  ASSERT_EQ(other.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(other.Adapters().back(), restarted);
}

// The coordinator has the sum alone, and that is all it needs.
TEST_F(ScaffoldTest, MaskedCorrectionsAreThoseOfThePaper) {
  testing::Mask(world_.run.plan);
  world_.run.plan.mutable_rounds()->set_quorum(4);
  AddAll();
  world_.Submit();
  ExpectPaper();
}

// A device keeps what follows from the coordinates that it sent.
TEST_F(ScaffoldTest, MaskedAndClampedTheyFollowFromWhatWasSent) {
  testing::Mask(world_.run.plan);
  world_.run.plan.mutable_rounds()->set_quorum(4);
  clamped_to_ = 0.01;  // of updates up to 0.06
  world_.run.plan.mutable_secagg()->set_bound(clamped_to_);
  AddAll();
  world_.Submit();
  ExpectPaper();
}

// Stopped when its vector is sent: for the protocol it is lost, in the sum it
// is.
TEST_F(ScaffoldTest, AMaskedDeviceLostAfterItsVectorCounts) {
  testing::Mask(world_.run.plan);
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& device = Add(3);
  std::atomic<bool> reached{false};
  device.lets_pass = [&](const v1::ClientMessage& message) {
    reached = reached || (message.secagg().message().has_input() &&
                          message.secagg().session().round() == 1);
    return true;
  };
  device.Start();
  world_.Submit();
  world_.WaitUntil([&](const auto&) { return reached.load(); });
  EXPECT_TRUE(device.Stop().ok());
  device.Start();
  ExpectPaper();
  EXPECT_EQ(ParseCard(world_.Status().cards(2).payload())->updates(), 4u);
}

// The state is a file of the device alone, and forgotten with the run.
TEST_F(ScaffoldTest, AfterTheRunNoDeviceKeepsAVariate) {
  AddAll();
  world_.Submit();
  ExpectFinished();
  const std::string run = world_.Status().run_id();
  for (auto& [name, device] : world_.devices) {
    ASSERT_TRUE(device->Stop().ok());
    const auto state = device->OpenState();
    OwnVectorStore store(state.get());
    const size_t size = adapters_[0].size();
    EXPECT_TRUE(store.Read(run, size)->empty()) << name;
  }
}

// As `edgetune train` and a run with one device are the same.
TEST(OneScaffoldDeviceTest, EqualsLocalTrainingBitForBit) {
  testing::FakeEngine engine;
  World world(1);
  UseScaffold(world.run.plan, 1);
  world.ExpectOneDeviceEqualsLocalTraining(engine);
  // A lone device's variate is the server's: nothing is corrected.
  for (const float value : engine.last_correction()) {
    EXPECT_NEAR(value, 0, 1e-6);
  }
}

}  // namespace
}  // namespace edgetune
