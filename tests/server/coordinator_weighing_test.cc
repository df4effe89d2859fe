// Rounds whose updates are weighed by more than examples: by local steps
// (FedNova) or by losses (q-FedAvg).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "protos/plan_check.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

class CoordinatorWeighingTest : public ::testing::Test {
 protected:
  CoordinatorWeighingTest() {
    v1::TrainSpec& train = *plan_.mutable_train();
    train.set_optimizer("sgd");
    train.set_lr(0.1);
  }

  void NormaliseSteps() {
    plan_.mutable_train()->clear_steps();
    plan_.mutable_train()->set_epochs(2);
    plan_.mutable_rounds()->set_normalise("steps");
    for (auto& device : fleet_) {
      device->amends = [this, &device](v1::Report& report) {
        report.set_train_steps(static_cast<uint32_t>(StepsOf(*device)));
      };
    }
  }
  void BeFair() {
    plan_.mutable_rounds()->set_fairness_q(2);
    for (auto& device : fleet_) {
      device->amends = [this, &device](v1::Report& report) {
        report.set_incoming_loss(LossOf(*device));
      };
    }
  }
  // Passes over as many examples as its weight says, in batches of 8.
  static double StepsOf(const FakeDevice& device) {
    return std::ceil(2 * device.Weight() / 8);
  }
  static double LossOf(const FakeDevice& device) {
    return device.Weight() / 10;
  }

  // The formulas of the papers, in plain double arithmetic.
  std::vector<double> FedNova(uint32_t round) const {
    double weights = 0, effective = 0;
    std::vector<double> sum(kTestCoordinates);
    for (const auto& device : fleet_) {
      weights += device->Weight();
      effective += device->Weight() * StepsOf(*device);
      const ParameterVector update = device->Update(round);
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += device->Weight() * update[i] / StepsOf(*device);
      }
    }
    for (double& value : sum) value *= effective / weights / weights;
    return sum;
  }
  std::vector<double> QFedAvg(uint32_t round) const {
    constexpr double kL = 10;
    double h = 0;
    std::vector<double> sum(kTestCoordinates);
    for (const auto& device : fleet_) {
      const double loss = LossOf(*device);
      double squares = 0;
      const ParameterVector update = device->Update(round);
      for (size_t i = 0; i < sum.size(); ++i) {
        sum[i] += device->Weight() * loss * loss * kL * update[i];
        squares += kL * update[i] * kL * update[i];
      }
      h += device->Weight() * (2 * loss * squares + kL * loss * loss);
    }
    for (double& value : sum) value /= h;
    return sum;
  }

  void ExpectStep(int round, const std::vector<double>& step) {
    const v1::RunStatus status = server_.Show(run_);
    const ParameterVector before = server_.Adapter(status, round);
    const ParameterVector after = server_.Adapter(status, round + 1);
    for (size_t i = 0; i < step.size(); ++i) {
      // Adapters of size about 1 in float32, before and after.
      EXPECT_NEAR(after[i], before[i] + step[i], 1e-6) << round << " " << i;
    }
  }

  // Two of four have reported in round 0 when the coordinator is killed.
  void KillInRoundZero() {
    for (int i : {2, 3}) fleet_[i]->silent_at = 0;
    run_ = server_.Submit(plan_);
    ASSERT_TRUE(RunUntil(server_, fleet_, [&] {
      return fleet_[2]->manifest() && fleet_[3]->manifest();
    }));
    server_.coordinator().Step();
    server_.Kill();
    ASSERT_TRUE(server_.Open());
    for (auto& device : fleet_) device->silent_at.reset();
    for (auto& device : fleet_) device->Arrive();
  }

  TestServer server_;
  std::vector<std::unique_ptr<FakeDevice>> fleet_ = MakeFleet(&server_);
  v1::TaskPlan plan_ = server_.MakePlan();
  std::string run_;
};

TEST_F(CoordinatorWeighingTest, StepsAreNormalised) {
  NormaliseSteps();
  run_ = server_.Submit(plan_);
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ASSERT_EQ(server_.Show(run_).cards_size(), 4);
  for (int round : {0, 1, 2}) ExpectStep(round, FedNova(round));
  const auto card = ParseCard(server_.Show(run_).cards(1).payload());
  EXPECT_EQ(card->weight_sum(), 17 + 24 + 31 + 38);
  EXPECT_EQ(card->updates(), 4u);
}

TEST_F(CoordinatorWeighingTest, LossesWeigh) {
  BeFair();
  run_ = server_.Submit(plan_);
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  for (int round : {0, 1, 2}) ExpectStep(round, QFedAvg(round));
}

// What reports said of their updates is as durable as the updates.
TEST_F(CoordinatorWeighingTest, KilledMidRoundStepsAreFoldedAgain) {
  NormaliseSteps();
  KillInRoundZero();
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ExpectStep(0, FedNova(0));
}

TEST_F(CoordinatorWeighingTest, KilledMidRoundLossesAreFoldedAgain) {
  BeFair();
  KillInRoundZero();
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ExpectStep(0, QFedAvg(0));
}

TEST_F(CoordinatorWeighingTest, AReportOfOtherStepsIsRefusedAlone) {
  NormaliseSteps();
  plan_.mutable_rounds()->set_quorum(3);
  fleet_[0]->amends = [](v1::Report& report) { report.set_train_steps(1); };
  run_ = server_.Submit(plan_);
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  EXPECT_EQ(server_.Show(run_).state(), v1::RunStatus::FINISHED);
  EXPECT_TRUE(server_.HasEvent(run_, "1 local steps, wanted 5 to 5"));
  const auto card = ParseCard(server_.Show(run_).cards(1).payload());
  EXPECT_EQ(card->updates(), 3u);
}

}  // namespace
}  // namespace edgetune
