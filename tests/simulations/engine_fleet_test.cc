// One round trip through the real engine, on the tiny model in fp32.

#include <gtest/gtest.h>

#include "client/train_plan.h"
#include "tests/simulations/world.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::World;

// Decisions 14: the same machine, threads and precision give the same bits.
class EngineFleetTest
    : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};
INSTANTIATE_TEST_SUITE_P(
    Engines, EngineFleetTest,
    ::testing::Combine(::testing::Values("fused", "reference"),
                       ::testing::Values("fedit", "ffa", "rolora")));

TEST_P(EngineFleetTest, OneClientEqualsLocalTrainingBitForBit) {
  const auto [name, rule] = GetParam();
  const auto engine = LoadEngine(name);
  ASSERT_TRUE(engine.ok()) << engine.status();
  World world(1);
  world.run.plan.mutable_lora()->set_rule(rule);
  Device& device = world.AddDevice("animal", 20, *engine);
  const ClientFile file = device.file;
  device.Start();
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  EXPECT_LT(status.measures(3).nll_sum(), status.measures(0).nll_sum());
  const std::shared_ptr<const ModelFile> model =
      *ModelFile::Open(world.run.model_path);
  const auto trainer =
      *(*engine)->MakeTrainer(model, EngineOptionsOf(world.run.plan, 1));
  EXPECT_EQ(world.Adapters().back(),
            world.TrainLocally(file, *trainer, *model));
}

}  // namespace
}  // namespace edgetune
