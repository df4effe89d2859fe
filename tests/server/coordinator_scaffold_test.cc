// Control variates at the coordinator (objective scaffold): what it publishes
// of its own follows from the means of the updates, and of the devices' updates
// it names those that are in the adapter.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "protos/plan_check.h"
#include "tests/server/test_server.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using Variates = std::map<uint32_t, std::vector<double>>;

class CoordinatorScaffoldTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kDevices = 8;  // of which four are asked

  CoordinatorScaffoldTest() {
    UseScaffold(plan_, kDevices);
    plan_.mutable_train()->set_lr(0.1);
    plan_.mutable_train()->set_steps(5);
    plan_.mutable_rounds()->set_quorum(4);
    // While the round's variate is there for sure.
    fleet_[0]->amends = [this](v1::Report&) { Observe(); };
  }

  // To the run's end, remembering each round's control variate.
  void RunOn() {
    ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
    ASSERT_EQ(server_.Show(run_).state(), v1::RunStatus::FINISHED)
        << server_.Show(run_).detail();
  }
  void Observe() {
    const v1::RoundManifest& manifest = *fleet_[0]->manifest();
    if (manifest.control_digest().empty()) return;
    const Digest digest = *DigestFromBytes(manifest.control_digest());
    const auto blob = server_.blobs().Get(digest);
    ASSERT_TRUE(blob.ok()) << blob.status();
    for (const auto& [round, before] : digests_) {
      if (round == manifest.round()) continue;
      EXPECT_FALSE(server_.blobs().Has(before)) << round;
    }
    digests_[manifest.round()] = digest;
    const auto values = *ParseParameters((*blob)->bytes(), kTestCoordinates);
    seen_[manifest.round()].assign(values.begin(), values.end());
  }

  // Algorithm 1 of the paper, in double: devices' changes of option II.
  Variates Expected() const {
    Variates all;
    std::vector<double> server(kTestCoordinates);
    std::vector<std::vector<double>> own(fleet_.size(), server);
    for (uint32_t round = 0; round < 3; ++round) {
      all[round] = server;
      for (size_t i = 0; i < server.size(); ++i) {
        double change = 0;
        for (size_t k = 0; k < fleet_.size(); ++k) {
          const double update = fleet_[k]->Update(round)[i];
          const double next = own[k][i] - all[round][i] - update / (5 * 0.1);
          change += (next - own[k][i]) / 4;
          own[k][i] = next;
        }
        server[i] += 4.0 / kDevices * change;
      }
    }
    return all;
  }
  void ExpectVariates() {
    const Variates expected = Expected();
    ASSERT_EQ(seen_.size(), 3u);
    for (const auto& [round, wanted] : expected) {
      for (size_t i = 0; i < wanted.size(); ++i) {
        // Variates of size 2, rounded to float32 three times at most.
        EXPECT_NEAR(seen_[round][i], wanted[i], 1e-6) << round << " " << i;
      }
    }
  }

  // Round and attempt that a device is told of, by (round, attempt) assigned.
  static std::map<std::pair<int, int>, std::pair<int, int>> CountedOf(
      FakeDevice& device) {
    std::map<std::pair<int, int>, std::pair<int, int>> counted;
    for (const v1::ServerMessage& message : device.channel().messages) {
      if (!message.has_assignment()) continue;
      const v1::Assignment& assignment = message.assignment();
      const auto manifest = *ParseManifest(assignment.manifest().payload());
      auto& entry = counted[{manifest.round(), manifest.attempt()}];
      entry = {-1, -1};
      if (!assignment.has_counted()) continue;
      EXPECT_EQ(assignment.counted().run_id(), manifest.plan_digest());
      entry = {assignment.counted().round(), assignment.counted().attempt()};
    }
    return counted;
  }

  void Restart() {
    server_.Kill();
    ASSERT_TRUE(server_.Open());
    for (auto& device : fleet_) device->Arrive();
  }

  TestServer server_;
  std::vector<std::unique_ptr<FakeDevice>> fleet_ = MakeFleet(&server_);
  v1::TaskPlan plan_ = server_.MakePlan();
  std::string run_;
  Variates seen_;
  std::map<uint32_t, Digest> digests_;
};

TEST_F(CoordinatorScaffoldTest, VariatesFollowFromTheMeansOfUpdates) {
  run_ = server_.Submit(plan_);
  RunOn();
  ExpectVariates();
}

// The current one alone while rounds are left (Observe), and then none.
TEST_F(CoordinatorScaffoldTest, VariatesDoNotOutliveTheirRound) {
  run_ = server_.Submit(plan_);
  RunOn();
  ASSERT_EQ(digests_.size(), 3u);
  for (const auto& [round, digest] : digests_) {
    EXPECT_FALSE(server_.blobs().Has(digest)) << round;
  }
}

TEST_F(CoordinatorScaffoldTest, OtherObjectivesHaveNone) {
  plan_.mutable_train()->set_objective("plain");
  plan_.mutable_fleet()->clear_devices();
  run_ = server_.Submit(plan_);
  RunOn();
  EXPECT_TRUE(seen_.empty());
  for (const auto& [session, counted] : CountedOf(*fleet_[0])) {
    EXPECT_EQ(counted, std::pair(-1, -1));
  }
}

TEST_F(CoordinatorScaffoldTest, TheVariateIsForDevicesOfTheRound) {
  run_ = server_.Submit(plan_);
  for (auto& device : fleet_) device->works = false;
  ASSERT_TRUE(RunUntil(server_, fleet_,
                       [&] { return fleet_[0]->manifest() != nullptr; }));
  Observe();
  auto& coordinator = server_.coordinator();
  EXPECT_TRUE(coordinator.AuthorizeDownload("d1", digests_[0]).ok());
  EXPECT_FALSE(coordinator.AuthorizeDownload("stranger", digests_[0]).ok());
}

TEST_F(CoordinatorScaffoldTest, DevicesAreToldWhichUpdateIsInTheAdapter) {
  run_ = server_.Submit(plan_);
  RunOn();
  const auto counted = CountedOf(*fleet_[1]);
  EXPECT_EQ(counted.at({0, 0}), std::pair(-1, -1));
  for (int round : {1, 2, 3}) {
    EXPECT_EQ(counted.at({round, 0}), std::pair(round - 1, 0));
  }
}

// Three were told "accepted" before the attempt was given up.
TEST_F(CoordinatorScaffoldTest, UpdatesOfAnAbandonedAttemptDoNotCount) {
  fleet_[3]->amends = [](v1::Report& report) {
    if (report.session().round() == 1 && report.session().attempt() == 0) {
      report.set_weight(NAN);
    }
  };
  run_ = server_.Submit(plan_);
  RunOn();
  ExpectVariates();
  for (const auto& device : fleet_) {
    const auto counted = CountedOf(*device);
    EXPECT_EQ(counted.at({1, 0}), std::pair(0, 0));
    EXPECT_EQ(counted.at({1, 1}), std::pair(0, 0));
    EXPECT_EQ(counted.at({2, 0}), std::pair(1, 1));
  }
}

TEST_F(CoordinatorScaffoldTest, ARefusedUpdateAloneDoesNotCount) {
  plan_.mutable_rounds()->set_quorum(3);
  fleet_[3]->amends = [](v1::Report& report) {
    if (report.session().round() == 0) report.set_weight(NAN);
  };
  run_ = server_.Submit(plan_);
  RunOn();
  EXPECT_EQ(CountedOf(*fleet_[2]).at({1, 0}), std::pair(0, 0));
  EXPECT_EQ(CountedOf(*fleet_[3]).at({1, 0}), std::pair(-1, -1));
  EXPECT_EQ(CountedOf(*fleet_[3]).at({2, 0}), std::pair(1, 0));
}

// In every round two of four have reported when the coordinator is killed.
TEST_F(CoordinatorScaffoldTest, RestartedInEachRoundItComesToTheSame) {
  TestServer other;
  auto others = MakeFleet(&other);
  (void)other.MakePlan();  // puts the blobs
  const std::string undisturbed = other.Submit(plan_);
  ASSERT_TRUE(RunToEnd(other, others, undisturbed));
  run_ = server_.Submit(plan_);
  for (uint32_t round = 0; round < 3; ++round) {
    for (int i : {2, 3}) fleet_[i]->silent_at = round;
    ASSERT_TRUE(RunUntil(server_, fleet_, [&] {
      const auto* manifest = fleet_[3]->manifest();
      return manifest != nullptr && manifest->round() == round &&
             !fleet_[0]->manifest();
    }));
    for (int i : {2, 3}) fleet_[i]->silent_at.reset();
    Restart();
  }
  RunOn();
  ExpectVariates();
  EXPECT_EQ(server_.AdapterBytes(server_.Show(run_), 3),
            other.AdapterBytes(other.Show(undisturbed), 3));
  // Since the last restart.
  EXPECT_EQ(CountedOf(*fleet_[0]).at({3, 0}), std::pair(2, 0));
}

}  // namespace
}  // namespace edgetune
