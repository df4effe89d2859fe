// SCAFFOLD's local steps and its algebra. Expected values:
// make_scaffold_vectors.py, float64, from the paper's algorithm, in which
// devices send the change of their control variates; here it is derived.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/control_variates.h"
#include "tests/training/memory_checkpoints.h"
#include "tests/training/pulling_engine.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::MemoryCheckpoints;
using testing::Numbers;
using testing::PullingEngine;

constexpr double kRate = 0.05;
constexpr int kSteps = 10;

struct Device {
  float curvature;
  Numbers examples;
  ParameterVector own = ParameterVector(3);
};

struct Expected {
  std::vector<double> x, c, own0, own1;
};

class ScaffoldTest : public ::testing::Test {
 protected:
  ScaffoldTest() {
    model_.vocab = 100;
    model_.context = 8;
    adapter_.spec = {.rank = 1, .alpha = 2, .targets = {"q_proj"}};
    adapter_.layout =
        *ParameterLayout::Make({{"lora_A", {2}}, {"lora_B", {1}}});
    adapter_.values = {1, -2, 0.5f};
  }

  absl::StatusOr<TrainResult> TryTrain(const Device& device,
                                       const ParameterVector& correction,
                                       CheckpointStore* store = nullptr,
                                       int64_t until = kSteps) {
    config_.correction = correction;
    StopToken stop{false};
    PullingEngine engine(adapter_.values, device.curvature);
    return TrainSegment(
        {"pulling", model_, adapter_, device.examples, config_, store}, stop,
        [&](const TrainProgress& at) { stop = at.step >= until; }, engine);
  }

  void Round(const std::vector<size_t>& sampled) {
    std::vector<double> sum(3);
    for (const size_t i : sampled) {
      Device& device = devices_[i];
      const auto correction = ControlCorrection(server_, device.own);
      const auto result = TryTrain(device, correction);
      ASSERT_TRUE(result.ok()) << result.status();
      device.own = NextOwnControl(correction, result->delta, kSteps * kRate);
      for (size_t k = 0; k < 3; ++k) sum[k] += result->delta[k];
    }
    const auto n = static_cast<double>(sampled.size());
    ParameterVector mean(3);
    for (size_t k = 0; k < 3; ++k) {
      mean[k] = static_cast<float>(sum[k] / n);
      adapter_.values[k] += mean[k];
    }
    server_ = NextServerControl(server_, mean,
                                {.way = kSteps * kRate, .share = n / 2});
  }

  static void ExpectNear(const ParameterVector& got,
                         const std::vector<double>& wanted) {
    for (size_t k = 0; k < wanted.size(); ++k) {
      // A device's 10 float32 steps on values up to 6 are off by 1e-6 or so;
      // a variate is such an update over K lr = 0.5, and three rounds add up.
      EXPECT_NEAR(got[k], wanted[k], 1e-5);
    }
  }
  void ExpectState(const Expected& wanted) {
    ExpectNear(adapter_.values, wanted.x);
    ExpectNear(server_, wanted.c);
    ExpectNear(devices_[0].own, wanted.own0);
    ExpectNear(devices_[1].own, wanted.own1);
  }

  ModelConfig model_;
  Adapter adapter_;
  TrainConfig config_ = {.lr = kRate,
                         .steps = kSteps,
                         .batch = 2,
                         .micro_batch = 2,
                         .grad_clip = 0,
                         .optimizer = OptimizerKind::kSgd};
  // Targets 6 and 1.5 on the mean of both examples.
  std::vector<Device> devices_ = {{1, Numbers({5, 7})}, {4, Numbers({1, 2})}};
  ParameterVector server_ = ParameterVector(3);
};

TEST_F(ScaffoldTest, ThreeRoundsOfTwoDevicesAreThoseOfThePaper) {
  Round({0, 1});
  ExpectState({{2.22631410630405, 1.16714742384648, 2.04978632589446},
               {-2.45262821260811, -6.33429484769297, -3.09957265178892},
               {-4.01263060761621, -6.42020897218594, -4.41389366837783},
               {-0.8926258176, -6.2483807232, -1.7852516352}});
  Round({1});
  ExpectState({{1.9261119866555, 1.48343251818051, 1.852332075243},
               {-0.926111986655501, -3.48343251818051, -1.352332075243},
               {-4.01263060761621, -6.42020897218594, -4.41389366837783},
               {2.16040663430521, -0.546656064175089, 1.70922951789183}});
  Round({0, 1});
  ExpectState({{2.27841841460845, 2.1354630011957, 2.25459251237299},
               {-0.704612855905903, -1.30406096603036, -0.80452087425998},
               {-3.87890834994123, -4.20460002037426, -3.9331902950134},
               {2.46968263812943, 1.59647808831353, 2.32414854649344}});
}

// A step is lr times the gradient and the correction.
TEST_F(ScaffoldTest, TheCorrectionIsAddedToEachGradient) {
  const auto plain = TryTrain(devices_[0], {});
  const auto none = TryTrain(devices_[0], {0, 0, 0});
  ASSERT_TRUE(plain.ok() && none.ok());
  EXPECT_EQ(none->delta, plain->delta);
  config_.steps = 1;
  const ParameterVector correction = {1, -2, 0.5f};
  const auto before = TryTrain(devices_[0], {});
  const auto after = TryTrain(devices_[0], correction);
  ASSERT_TRUE(before.ok() && after.ok());
  for (size_t k = 0; k < 3; ++k) {
    const double moved = after->delta[k] - before->delta[k];
    EXPECT_NEAR(moved, -kRate * correction[k], 5e-7);  // values near 1
  }
}

TEST_F(ScaffoldTest, ClippingSeesTheCorrection) {
  config_.steps = 1;
  config_.grad_clip = 1e-2;
  const auto result = TryTrain(devices_[0], {1e4f, 0, 0});
  ASSERT_TRUE(result.ok());
  EXPECT_NEAR(result->delta[0], -kRate * 1e-2, 1e-7);  // of a value near 1
}

TEST_F(ScaffoldTest, ACorrectionOfAnotherSizeIsRefused) {
  const auto result = TryTrain(devices_[0], {1, 2});
  EXPECT_TRUE(absl::IsInvalidArgument(result.status()));
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("2 coordinates, 3 are trained"));
}

TEST_F(ScaffoldTest, ACheckpointOfAnotherCorrectionIsLeftAside) {
  MemoryCheckpoints store;
  const ParameterVector correction = {1, 2, 3};
  ASSERT_TRUE(TryTrain(devices_[0], correction, &store, 4)->stopped);
  EXPECT_EQ(TryTrain(devices_[0], {1, 2, 4}, &store)->resumed, 0);
  const auto resumed = TryTrain(devices_[0], correction, &store);
  EXPECT_EQ(resumed->resumed, 4);
  EXPECT_EQ(resumed->delta, TryTrain(devices_[0], correction)->delta);
}

}  // namespace
}  // namespace edgetune
