// Epochs, FedNova and q-FedAvg between the real coordinator and real clients in
// one process: what is published is what the papers' formulas make of the
// devices' own results. Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::kNames;
using testing::RecordingEngine;
using testing::World;

// 8, 13, 18, 23 lines less a quarter held out.
const int64_t kExamples[] = {6, 10, 13, 17};

// Four devices with unequal data, and all that they said.
class WeighingTest : public ::testing::Test {
 protected:
  static constexpr int kRounds = 3;

  WeighingTest() {
    v1::TrainSpec& train = *world_.run.plan.mutable_train();
    train.clear_steps();
    train.set_epochs(2);
    train.set_optimizer("sgd");
  }

  void RunToEnd() {
    int lines = 8;
    for (int i = 0; i < 4; ++i) {
      engines_[i].fake.more_loss = 0.5 * i;
      auto& device = world_.AddDevice(kNames[i], lines, &engines_[i]);
      device.lets_pass = [this, i](const v1::ClientMessage& message) {
        std::lock_guard<std::mutex> lock(mu_);
        if (message.has_report()) {
          reports_[i][message.report().session().round()] = message.report();
        }
        if (message.has_progress()) progress_.push_back(message.progress());
        return true;
      };
      device.Start();
      lines += 5;
    }
    world_.Submit();
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
  }

  // Each published step against `step` of a coordinate's four deltas.
  template <typename Step>
  void ExpectSteps(const Step& step) {
    const auto adapters = world_.Adapters();
    ASSERT_EQ(adapters.size(), 1u + kRounds);
    for (uint32_t round = 0; round < kRounds; ++round) {
      std::vector<ParameterVector> deltas;
      for (auto& engine : engines_) deltas.push_back(engine.deltas()[round]);
      const auto wanted = step(round, deltas);
      for (size_t i = 0; i < wanted.size(); ++i) {
        const double moved = adapters[round + 1][i] - adapters[round][i];
        // Both adapters are float32, near 0.1.
        EXPECT_NEAR(moved, wanted[i], 2e-8) << round << " " << i;
      }
    }
  }

  // Before the world: its devices work until it goes.
  RecordingEngine engines_[4];
  std::mutex mu_;
  std::map<int, std::map<uint32_t, v1::Report>> reports_;  // device, round
  std::vector<v1::Progress> progress_;
  World world_{4};
};

TEST_F(WeighingTest, EpochsMakeAsManyStepsAsTheDataNeeds) {
  RunToEnd();
  for (int i = 0; i < 4; ++i) {
    // Two passes in batches of two.
    EXPECT_EQ(engines_[i].fake.steps, kRounds * kExamples[i]);
    for (uint32_t round = 0; round < kRounds; ++round) {
      EXPECT_EQ(reports_[i][round].train_steps(), kExamples[i]);
      EXPECT_EQ(reports_[i][round].weight(), kExamples[i]);
      EXPECT_EQ(reports_[i][round].incoming_loss(), 0);
    }
    EXPECT_EQ(reports_[i][kRounds].train_steps(), 0u);
  }
}

TEST_F(WeighingTest, NormalisedStepsAreThoseOfFedNova) {
  world_.run.plan.mutable_rounds()->set_normalise("steps");
  RunToEnd();
  const double all = 6 + 10 + 13 + 17;
  ExpectSteps([&](uint32_t, const std::vector<ParameterVector>& deltas) {
    std::vector<double> step(deltas[0].size());
    double effective = 0;
    for (int i = 0; i < 4; ++i) effective += kExamples[i] / all * kExamples[i];
    for (size_t c = 0; c < step.size(); ++c) {
      for (int i = 0; i < 4; ++i) {
        step[c] += effective * kExamples[i] / all * deltas[i][c] / kExamples[i];
      }
    }
    return step;
  });
}

TEST_F(WeighingTest, FairStepsAreThoseOfQFedAvg) {
  constexpr double kQ = 2, kL = 100;  // lr is 1e-2
  world_.run.plan.mutable_rounds()->set_fairness_q(kQ);
  RunToEnd();
  ExpectSteps([&](uint32_t round, const std::vector<ParameterVector>& deltas) {
    std::vector<double> step(deltas[0].size());
    double h = 0;
    for (int i = 0; i < 4; ++i) {
      const double loss = reports_[i][round].incoming_loss();
      EXPECT_NEAR(loss - reports_[0][round].incoming_loss(), 0.5 * i, 1e-12);
      double squares = 0;
      for (size_t c = 0; c < step.size(); ++c) {
        const double change = kL * deltas[i][c];
        squares += change * change;
        step[c] += kExamples[i] * std::pow(loss, kQ) * change;
      }
      h += kExamples[i] *
           (kQ * std::pow(loss, kQ - 1) * squares + kL * std::pow(loss, kQ));
    }
    for (double& value : step) value /= h;
    return step;
  });
}

// How many steps a device makes tells how many examples it has.
TEST_F(WeighingTest, UnderMaskingStepsOfEpochsAreNotTold) {
  testing::Mask(world_.run.plan);
  RunToEnd();
  int trained = 0;
  for (const v1::Progress& progress : progress_) {
    if (progress.phase() != v1::Progress::TRAINING) continue;
    ++trained;
    EXPECT_EQ(progress.steps(), 100u);
    EXPECT_LE(progress.step(), 100u);
    EXPECT_EQ(progress.loss(), 0);
  }
  EXPECT_GE(trained, 4 * kRounds);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(engines_[i].fake.steps, kRounds * kExamples[i]);
  }
}

// As `edgetune train` and a run with one device are the same.
TEST(OneClientTest, OfEpochsEqualsLocalTrainingBitForBit) {
  testing::FakeEngine engine;
  World world(1);
  world.run.plan.mutable_train()->clear_steps();
  world.run.plan.mutable_train()->set_epochs(3);
  world.ExpectOneDeviceEqualsLocalTraining(engine);
}

}  // namespace
}  // namespace edgetune
