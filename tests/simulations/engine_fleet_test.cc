// One round trip through the real engine, on the tiny model in fp32.

#include <gtest/gtest.h>

#include "tests/simulations/world.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

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
  world.ExpectOneDeviceEqualsLocalTraining(**engine);
  const v1::RunStatus status = world.Status();
  EXPECT_LT(status.measures(3).nll_sum(), status.measures(0).nll_sum());
}

}  // namespace
}  // namespace edgetune
