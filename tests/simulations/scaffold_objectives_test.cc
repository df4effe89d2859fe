// What SCAFFOLD promises, on a convex problem whose optimum is known: each
// device's loss is a parabola of its own height and place. Plan, local
// training, fold, control variates and server step are the real ones.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "aggregation/server_optimizer.h"
#include "base/control_variates.h"
#include "base/random.h"
#include "client/train_plan.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "server/update_intake.h"
#include "tests/testing/plans.h"
#include "tests/training/pulling_engine.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

using testing::Numbers;
using testing::PullingEngine;

constexpr int kDraws = 5;
constexpr uint32_t kSprings = 5;

// A device that is pulled to its target, the more steeply the more it is
// curved.
struct Spring {
  int32_t target;
  float curvature;
  ParameterVector own;
};

// Many local steps: devices go most of the way to their own targets.
v1::TaskPlan ManyStepsPlan(const std::string& objective, uint32_t cohort) {
  v1::TaskPlan plan = ValidPlan();
  v1::TrainSpec& train = *plan.mutable_train();
  train.set_optimizer("sgd");
  train.set_lr(0.02);
  train.set_steps(20);
  train.set_batch(1);
  train.set_micro_batch(1);
  train.set_grad_clip(0);
  v1::RoundsSpec& rounds = *plan.mutable_rounds();
  rounds.set_count(1000);
  rounds.set_cohort(cohort);
  rounds.set_quorum(1);
  rounds.set_weights("equal");
  if (objective == "scaffold") UseScaffold(plan, kSprings);
  return plan;
}

// Rounds of as many devices as the plan asks, in turn, from zeros.
class SpringFederation {
 public:
  SpringFederation(v1::TaskPlan plan, std::vector<Spring> devices)
      : plan_(std::move(plan)), devices_(std::move(devices)) {
    EXPECT_TRUE(CheckPlan(plan_).ok()) << CheckPlan(plan_);
    model_.vocab = 100;
    model_.context = 8;
    adapter_.layout = *AdapterLayout(plan_);
    adapter_.values.assign(adapter_.layout.size(), 0);
    optimizer_ = *MakeServerOptimizer({}, adapter_.values.size(), "");
    server_.resize(adapter_.layout.size());
    for (Spring& device : devices_) device.own.resize(server_.size());
  }

  double Run(uint32_t rounds) {
    for (uint32_t round = 0; round < rounds; ++round) Round(round);
    return adapter_.values[0];
  }
  double server() const { return server_[0]; }
  double MeanOwn() const {
    double sum = 0;
    for (const Spring& device : devices_) sum += device.own[0];
    return sum / static_cast<double>(devices_.size());
  }
  double Far() const {  // the largest correction
    double most = 0;
    for (const Spring& device : devices_) {
      most = std::max(most, std::abs(double{server_[0]} - device.own[0]));
    }
    return most;
  }

 private:
  void Round(uint32_t round) {
    const bool controls = UsesControls(plan_);
    const double way = ControlWay(plan_.train());
    const auto fold = *MakeRoundFold(plan_, round);
    const uint32_t cohort = plan_.rounds().cohort();
    for (uint32_t i = 0; i < cohort; ++i) {
      Spring& device = devices_[(round * cohort + i) % devices_.size()];
      const auto correction = ControlCorrection(server_, device.own);
      const ParameterVector delta = Train(device, round, correction);
      ASSERT_TRUE(fold->Add(delta, {.weight = 1}).ok());
      if (controls) device.own = NextOwnControl(correction, delta, way);
    }
    const auto result = *fold->Finish();
    ASSERT_TRUE(
        optimizer_
            ->Step(result.mean, *UpdateRanges(plan_, round), adapter_.values)
            .ok());
    if (!controls) return;
    server_ = NextServerControl(
        server_, result.mean,
        {.way = way, .share = static_cast<double>(result.updates) / kSprings});
  }

  ParameterVector Train(const Spring& device, uint32_t round,
                        const ParameterVector& correction) const {
    const Numbers examples({device.target});
    PullingEngine engine(adapter_.values, device.curvature);
    TrainConfig config = TrainConfigOf(plan_, round, {"data", 1});
    if (UsesControls(plan_)) config.correction = correction;
    const auto result =
        TrainSegment({"pulling", model_, adapter_, examples, config},
                     StopToken{false}, {}, engine);
    EXPECT_TRUE(result.ok()) << result.status();
    return result->delta;
  }

  const v1::TaskPlan plan_;
  std::vector<Spring> devices_;
  ModelConfig model_;
  Adapter adapter_;
  std::unique_ptr<ServerOptimizer> optimizer_;
  ParameterVector server_;
};

// The steeper, the farther right: whoever weighs them wrongly ends elsewhere.
std::vector<Spring> UnequalDevices(uint64_t seed) {
  Random random(seed);
  std::vector<Spring> devices;
  for (uint32_t i = 0; i < kSprings; ++i) {
    devices.push_back({static_cast<int32_t>(2 + 3 * i + random.Below(3)),
                       0.5f + 0.75f * static_cast<float>(i),
                       {}});
  }
  return devices;
}

template <typename Weight>
double Centre(const std::vector<Spring>& devices, const Weight& weight) {
  double sum = 0, all = 0;
  for (const Spring& device : devices) {
    sum += weight(device.curvature) * device.target;
    all += weight(device.curvature);
  }
  return sum / all;
}

double Optimum(const std::vector<Spring>& devices) {
  return Centre(devices, [](double curvature) { return curvature; });
}

// Where the mean of all ways is 0: K steps go 1 - (1 - lr h)^K of one.
TEST(ScaffoldObjectivesTest, FedAvgOfManyStepsEndsAtTheWrongPoint) {
  for (uint64_t seed = 1; seed <= kDraws; ++seed) {
    const auto devices = UnequalDevices(seed);
    const double wrong = Centre(
        devices, [](double h) { return 1 - std::pow(1 - 0.02 * h, 20); });
    const double end =
        SpringFederation(ManyStepsPlan("plain", kSprings), devices).Run(300);
    EXPECT_NEAR(end, wrong, 1e-4);  // float32 steps of values near 10
    EXPECT_GT(std::abs(end - Optimum(devices)), 0.2) << seed;
  }
}

// Karimireddy et al. 2020, Theorem III: whatever the devices differ in.
TEST(ScaffoldObjectivesTest, ScaffoldEndsAtTheOptimum) {
  for (uint64_t seed = 1; seed <= kDraws; ++seed) {
    const auto devices = UnequalDevices(seed);
    // The same steps as FedAvg's. Float32 steps of values near 10.
    EXPECT_NEAR(
        SpringFederation(ManyStepsPlan("scaffold", kSprings), devices).Run(300),
        Optimum(devices), 1e-4)
        << seed;
  }
}

// FedAvg of two devices a round circles without end.
TEST(ScaffoldObjectivesTest, AlsoWhenOnlySomeDevicesTakePartInARound) {
  for (uint64_t seed = 1; seed <= kDraws; ++seed) {
    const auto devices = UnequalDevices(seed);
    const double optimum = Optimum(devices);
    EXPECT_NEAR(
        SpringFederation(ManyStepsPlan("scaffold", 2), devices).Run(600),
        optimum, 1e-3)
        << seed;
    EXPECT_GT(
        std::abs(SpringFederation(ManyStepsPlan("plain", 2), devices).Run(600) -
                 optimum),
        0.2)
        << seed;
  }
}

TEST(ScaffoldObjectivesTest, TheServersVariateIsTheMeanOfTheDevices) {
  for (const uint32_t cohort : {kSprings, 2u}) {
    SpringFederation federation(ManyStepsPlan("scaffold", cohort),
                                UnequalDevices(3));
    for (int i = 0; i < 10; ++i) {
      federation.Run(cohort == kSprings ? 1 : 5);
      // Variates of size 10 in float32, rounded 50 times at most.
      EXPECT_NEAR(federation.server(), federation.MeanOwn(), 5e-5);
    }
  }
}

TEST(ScaffoldObjectivesTest, WithEqualDevicesItIsFedAvg) {
  const std::vector<Spring> equal(kSprings, {7, 1.5f, {}});
  for (const uint32_t rounds : {1u, 2u, 5u, 20u}) {
    SpringFederation federation(ManyStepsPlan("scaffold", kSprings), equal);
    const double end = federation.Run(rounds);
    const double plain =
        SpringFederation(ManyStepsPlan("plain", kSprings), equal).Run(rounds);
    EXPECT_NEAR(end, plain, 1e-5);  // corrections of a rounded float32
    EXPECT_LT(federation.Far(), 1e-5);
  }
}

}  // namespace
}  // namespace edgetune
