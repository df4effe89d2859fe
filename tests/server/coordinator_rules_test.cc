// Rounds whose updates are a part of the adapter.

#include <gmock/gmock.h>

#include <cmath>
#include <span>

#include "base/status.h"
#include "protos/plan_check.h"
#include "tests/server/test_server.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

// Where A and B of ValidPlan stand, by hand: a layer is q_A 8, q_B 8, v_A 8,
// v_B 4.
std::vector<size_t> CoordinatesOf(char factor) {
  std::vector<size_t> found;
  for (size_t layer : {0, 28}) {
    for (size_t i = 0; i < 28; ++i) {
      const bool is_a = i < 8 || (i >= 16 && i < 24);
      if (is_a == (factor == 'A')) found.push_back(layer + i);
    }
  }
  return found;
}

// The weighted mean of the devices' updates, in plain double arithmetic.
std::vector<double> MeanUpdate(
    const std::vector<std::unique_ptr<FakeDevice>>& fleet, uint32_t round,
    size_t coordinates) {
  double weights = 0;
  std::vector<double> mean(coordinates);
  for (const auto& device : fleet) {
    weights += device->Weight();
    const ParameterVector update = device->Update(round, coordinates);
    for (size_t i = 0; i < coordinates; ++i) {
      mean[i] += device->Weight() * update[i];
    }
  }
  for (double& value : mean) value /= weights;
  return mean;
}

// `before` with the mean added where `factor` stands; the others bit for bit.
void ExpectStep(const ParameterVector& before, const ParameterVector& after,
                char factor, const std::vector<double>& mean) {
  ParameterVector rest = after;
  const std::vector<size_t> moved = CoordinatesOf(factor);
  ASSERT_EQ(moved.size(), mean.size());
  for (size_t i = 0; i < moved.size(); ++i) {
    EXPECT_NEAR(after[moved[i]], before[moved[i]] + mean[i], 1e-6);
    rest[moved[i]] = before[moved[i]];
  }
  EXPECT_EQ(rest, before);
}

class CoordinatorRulesTest : public ::testing::Test {
 protected:
  void Submit(const std::string& rule) {
    plan_ = server_.MakePlan();
    plan_.mutable_lora()->set_rule(rule);
    run_ = server_.Submit(plan_);
  }
  ParameterVector Version(int version) {
    return server_.Adapter(server_.Show(run_), version);
  }
  // Until all hold an assignment of `round`, in which they are silent.
  void RunUntilAssigned(uint32_t round) {
    for (auto& device : fleet_) device->silent_at = round;
    ASSERT_TRUE(RunUntil(server_, fleet_, [&] {
      return std::all_of(fleet_.begin(), fleet_.end(), [&](auto& device) {
        return device->manifest() && device->manifest()->round() == round;
      });
    }));
  }

  TestServer server_;
  std::vector<std::unique_ptr<FakeDevice>> fleet_ = MakeFleet(&server_);
  v1::TaskPlan plan_;
  std::string run_;
};

TEST_F(CoordinatorRulesTest, FfaStepsOnBAlone) {
  Submit("ffa");
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ASSERT_EQ(server_.Show(run_).cards_size(), 4);
  for (int round : {0, 1, 2}) {
    ExpectStep(Version(round), Version(round + 1), 'B',
               MeanUpdate(fleet_, round, 24));
  }
  // 4 devices, 3 rounds, 24 float32.
  EXPECT_EQ(server_.Show(run_).bytes_up(), 4u * 3u * 24u * 4u);
}

TEST_F(CoordinatorRulesTest, RoloraStepsOnBAndAInTurn) {
  Submit("rolora");
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ASSERT_EQ(server_.Show(run_).cards_size(), 4);
  ExpectStep(Version(0), Version(1), 'B', MeanUpdate(fleet_, 0, 24));
  ExpectStep(Version(1), Version(2), 'A', MeanUpdate(fleet_, 1, 32));
  ExpectStep(Version(2), Version(3), 'B', MeanUpdate(fleet_, 2, 24));
}

TEST_F(CoordinatorRulesTest, UpdatesOfEachSizeAreRemoved) {
  Submit("rolora");
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  // Base, initial adapter and three published ones.
  EXPECT_EQ(server_.blobs().List()->size(), 5u);
}

TEST_F(CoordinatorRulesTest, OnlyAnUpdateOfThisRoundsSizeIsTaken) {
  Submit("rolora");
  RunUntilAssigned(1);
  EXPECT_EQ(fleet_[0]->manifest()->coordinates(), 32u);
  for (const size_t coordinates : {24, 56}) {  // of B, of the whole adapter
    const std::string bytes(coordinates * 4, '\0');
    const absl::Status status = fleet_[0]->Upload(bytes, Sha256(bytes));
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("128"));
  }
}

TEST_F(CoordinatorRulesTest, KilledMidRoundItsUpdatesAreFoldedAgain) {
  Submit("rolora");
  RunUntilAssigned(1);
  for (int i : {0, 1}) fleet_[i]->SendReport(fleet_[i]->MakeReport());
  server_.coordinator().Step();
  server_.Kill();
  ASSERT_TRUE(server_.Open());
  for (auto& device : fleet_) device->silent_at.reset();
  for (auto& device : fleet_) device->Arrive();
  ASSERT_TRUE(RunToEnd(server_, fleet_, run_));
  ExpectStep(Version(1), Version(2), 'A', MeanUpdate(fleet_, 1, 32));
  EXPECT_EQ(server_.blobs().List()->size(), 5u);
}

TEST_F(CoordinatorRulesTest, AnAThatWouldStayZeroIsRefused) {
  v1::TaskPlan plan = server_.MakePlan();
  ParameterVector adapter(kTestCoordinates, 0.5f);
  std::fill_n(adapter.begin() + 16, 8, 0.0f);  // v_A of layer 0
  plan.mutable_lora()->set_initial_digest(
      DigestBytes(server_.PutBlob(SerializeParameters(adapter))));
  const auto submit = [&](const char* rule) {
    plan.mutable_lora()->set_rule(rule);
    return server_.coordinator().Submit(server_.Sign(plan)).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(submit("ffa")));
  EXPECT_THAT(std::string(submit("ffa").message()),
              HasSubstr("layers.0.self_attn.v_proj.lora_A"));
  EXPECT_TRUE(submit("rolora").ok());
}

}  // namespace
}  // namespace edgetune
