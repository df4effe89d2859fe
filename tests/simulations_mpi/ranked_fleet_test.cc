// A fleet whose trainers stand on several ranks is the fleet of one process:
// the same events, the same adapter, bit for bit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/status.h"
#include "simulations/adversary/adversary_trainer.h"
#include "tests/simulations_fleet/small_fleet.h"
#include "tests/simulations_mpi/job.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using testing::Job;
using testing::SmallFleet;
using Kind = SessionNews::Kind;

struct Case {
  const char* name;
  std::function<void(SmallFleet&)> prepare;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::unique_ptr<Trainer> FlipOne(size_t device,
                                 std::function<Trainer&()> trainer) {
  if (device == 1) return MakeScalingTrainer(-1, std::move(trainer));
  if (device == 2) return MakeFreeRider(std::move(trainer));
  return nullptr;
}

class RankedFleetTest : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(
    Plans, RankedFleetTest,
    ::testing::Values(
        Case{"clear", [](SmallFleet&) {}},
        Case{"masked",
             [](SmallFleet& fleet) { testing::Mask(fleet.run.plan); }},
        // The second round is given up once.
        Case{"scaffold",
             [](SmallFleet& fleet) {
               UseScaffold(fleet.run.plan, 6);
               fleet.devices.vanishes[3] = 0.5;
             }},
        Case{"adversaries",
             [](SmallFleet& fleet) { fleet.replace_trainer = FlipOne; }},
        Case{"rolora",
             [](SmallFleet& fleet) {
               fleet.run.plan.mutable_lora()->set_rule("rolora");
             }},
        Case{"fairness",
             [](SmallFleet& fleet) {
               fleet.run.plan.mutable_train()->set_optimizer("sgd");
               fleet.run.plan.mutable_rounds()->set_weights("equal");
               fleet.run.plan.mutable_rounds()->set_fairness_q(1);
             }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(RankedFleetTest, RanksChangeNothing) {
  SmallFleet alone(6);
  GetParam().prepare(alone);
  const auto status = alone.Run();
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), v1::RunStatus::FINISHED)
      << status->ShortDebugString();
  for (const int size : {1, 2, 4}) {
    SmallFleet fleet(6);
    GetParam().prepare(fleet);
    Job job(fleet.run, size, /*workers=*/2);
    job.Start();
    ASSERT_TRUE(job.ranks->Gather(job.hellos[0]).ok());
    RankEngine engine(&fleet.engine, &*job.ranks, 2);
    fleet.other_engine = &engine;
    fleet.workers = engine.workers();
    fleet.stop = &job.ranks->stop();
    EXPECT_EQ(fleet.workers, 2u * static_cast<size_t>(size));
    ASSERT_TRUE(fleet.Run().ok());
    EXPECT_EQ(fleet.diary.lines, alone.diary.lines) << size;
    EXPECT_EQ(fleet.adapter(), alone.adapter()) << size;
    // Each is done once, wherever.
    EXPECT_EQ(fleet.engine.trainings + job.trainings(), alone.engine.trainings);
    // Six of eight workers are elsewhere.
    if (size == 4) {
      EXPECT_GT(job.trainings(), 0);
    }
    EXPECT_TRUE(job.ranks->End().ok());
    for (const absl::Status& served : job.Served()) {
      EXPECT_TRUE(served.ok()) << served;
    }
    EXPECT_EQ(job.memory.left(), size);
  }
}

// The devices of a round work on one adapter, which a rank is told once.
TEST(RankedFleetWorkTest, AnAdapterCrossesOnceForARound) {
  const testing::ScratchDirectory scratch;
  const testing::TestRun run = testing::MakeTestRun(scratch.path(), 4);
  Job job(run, 2, /*workers=*/1);
  job.Start();
  ASSERT_TRUE(job.ranks->Gather(job.hellos[0]).ok());
  const auto values = ParseParameters(
      {reinterpret_cast<const uint8_t*>(run.adapter_blob.data()),
       run.adapter_blob.size()},
      run.adapter_blob.size() / sizeof(float));
  const StopToken never{false};
  const size_t adapter = run.adapter_blob.size();
  const auto cross = [&](const ParameterVector& sent) {
    Call call;
    call.examples = {{{1, 2}, {0, 1}}};
    const size_t before = job.memory.bytes();
    EXPECT_TRUE(job.ranks->Do(1, std::move(call), sent, never).ok());
    return job.memory.bytes() - before;
  };
  EXPECT_GT(cross(*values), adapter);
  EXPECT_LT(cross(*values), adapter);
  ParameterVector other = *values;
  other[0] = -other[0];
  EXPECT_GT(cross(other), adapter);
  EXPECT_GT(cross(*values), adapter);
}

}  // namespace
}  // namespace edgetune
