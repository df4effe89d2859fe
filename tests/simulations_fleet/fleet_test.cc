// A fleet in virtual time: the same rounds, messages and adapters as deployed.

#include "simulations/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/time/clock.h"
#include "base/status.h"
#include "protos/plan_check.h"
#include "tests/simulations/world.h"
#include "tests/simulations_fleet/small_fleet.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::SmallFleet;
using testing::World;
using Kind = SessionNews::Kind;

void ExpectFinished(const absl::StatusOr<v1::RunStatus>& status) {
  ASSERT_TRUE(status.ok()) << status.status();
  ASSERT_EQ(status->state(), v1::RunStatus::FINISHED)
      << status->ShortDebugString();
}

TEST(FleetTest, RunsEveryRoundAndTheClosingEvaluation) {
  SmallFleet fleet(4);
  const auto status = fleet.Run();
  ExpectFinished(status);
  EXPECT_EQ(status->rounds_done(), 3u);
  EXPECT_EQ(status->measures_size(), 4);
  EXPECT_EQ(fleet.engine.trainings, 12);
  EXPECT_EQ(fleet.diary.counts[Kind::kSelected], 16);
  EXPECT_EQ(fleet.diary.counts[Kind::kAccepted], 16);
}

// The deployed fleet has threads, real time and files.
void ExpectTheDeployedFleetsAdapter(SmallFleet& fleet) {
  ExpectFinished(fleet.Run());
  World world(4);
  world.run.plan = fleet.run.plan;
  world.run.adapter_blob = fleet.run.adapter_blob;
  *world.run.plan.mutable_header() =
      testing::MakeTestRun(world.scratch.path(), 4).plan.header();
  testing::FakeEngine engine;
  for (const std::string& name : fleet.names) {
    testing::Device& device = world.AddDevice(name, 1, &engine);
    device.file.data = fleet.data.at(name);
    device.file.train.rank =
        fleet.devices.LargestRank(world.devices.size() - 1);
    device.Start();
  }
  world.Submit();
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(fleet.adapter(), world.Adapters().back());
}

class RuleTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Rules, RuleTest,
                         ::testing::Values("fedit", "ffa", "rolora", "fedsa",
                                           "hetlora", "flexlora"));

TEST_P(RuleTest, TheAdapterIsTheDeployedFleetsBitForBit) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_lora()->set_rule(GetParam());
  ExpectTheDeployedFleetsAdapter(fleet);
}

// The second round is given up once, after others' updates were accepted; it
// shows in no variate.
TEST(FleetTest, ControlVariatesAreTheDeployedFleetsToo) {
  SmallFleet fleet(4);
  UseScaffold(fleet.run.plan, 4);
  fleet.devices.vanishes[3] = 0.5;
  ExpectTheDeployedFleetsAdapter(fleet);
  EXPECT_EQ(fleet.engine.trainings, 16);
}

// As above: in no device's own B does the attempt show that was given up.
TEST(FleetTest, FactorsThatStayOnDevicesAreTheDeployedFleetsToo) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_lora()->set_rule("fedsa");
  fleet.devices.vanishes[3] = 0.5;
  ExpectTheDeployedFleetsAdapter(fleet);
  EXPECT_EQ(fleet.engine.trainings, 16);
}

TEST(FleetTest, CoresBetweenFixedFactorsAreTheDeployedOnesToo) {
  SmallFleet fleet(4);
  UseFedSb(fleet.run);
  ExpectTheDeployedFleetsAdapter(fleet);
}

class FrozenRuleTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Rules, FrozenRuleTest,
                         ::testing::Values("fedex", "flora"));

TEST_P(FrozenRuleTest, FrozenSlicesAreTheDeployedOnesToo) {
  SmallFleet fleet(4);
  UseFrozen(fleet.run, GetParam(), 5);
  if (std::string(GetParam()) == "flora") fleet.devices.ranks = {{1, 1}};
  ExpectTheDeployedFleetsAdapter(fleet);
}

TEST(FleetTest, DevicesOfUnequalRanksAreTheDeployedOnesToo) {
  SmallFleet fleet(4), equal(4);
  fleet.run.plan.mutable_lora()->set_rule("hetlora");
  equal.run.plan.mutable_lora()->set_rule("hetlora");
  fleet.devices.ranks = {{1, 1}, {2, 1}, {3, 2}};
  ExpectTheDeployedFleetsAdapter(fleet);
  ExpectFinished(equal.Run());
  EXPECT_NE(fleet.adapter(), equal.adapter());
}

TEST(FleetTest, NeitherWorkersNorAnotherRunChangeAnything) {
  SmallFleet first(5), again(5), crowded(5);
  crowded.workers = 4;
  for (SmallFleet* fleet : {&first, &again, &crowded}) {
    ExpectFinished(fleet->Run());
  }
  EXPECT_EQ(again.diary.lines, first.diary.lines);
  EXPECT_EQ(again.adapter(), first.adapter());
  EXPECT_EQ(crowded.diary.lines, first.diary.lines);
  EXPECT_EQ(crowded.adapter(), first.adapter());
}

TEST(FleetTest, AMaskedRunRepeatsItselfToo) {
  SmallFleet first(6), again(6), other(6);
  again.workers = 3;
  other.seed = 2;
  for (SmallFleet* fleet : {&first, &again, &other}) {
    testing::Mask(fleet->run.plan);
    ExpectFinished(fleet->Run());
  }
  EXPECT_EQ(again.diary.lines, first.diary.lines);
  EXPECT_EQ(again.adapter(), first.adapter());
  // Devices of another seed round their updates otherwise.
  EXPECT_NE(other.adapter(), first.adapter());
}

TEST(FleetTest, ASlowerFleetTakesLongerAndLearnsTheSame) {
  SmallFleet fast(4), slow(4);
  slow.devices.a_token = fast.devices.a_token * 10;
  ExpectFinished(fast.Run());
  ExpectFinished(slow.Run());
  EXPECT_GT(slow.length, fast.length * 5);
  EXPECT_EQ(slow.adapter(), fast.adapter());
}

TEST(FleetTest, WhoIsTooSlowIsLateAndTheRoundGoesOnWithoutIt) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_rounds()->set_quorum(3);
  fleet.run.plan.mutable_rounds()->set_deadline_ms(60'000);
  fleet.devices.slower[3] = 1000;
  const auto status = fleet.Run();
  ExpectFinished(status);
  EXPECT_GE(fleet.diary.counts[Kind::kLate], 1);
  const auto card = ParseCard(status->cards(1).payload());
  EXPECT_EQ(card->updates(), 3u);
}

TEST(FleetTest, ADeviceThatVanishesIsLostForTheRoundAndComesBack) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_rounds()->set_quorum(3);
  fleet.devices.vanishes[2] = 0.5;
  const auto status = fleet.Run();
  ExpectFinished(status);
  EXPECT_EQ(fleet.diary.counts[Kind::kVanished], 1);
  EXPECT_EQ(ParseCard(status->cards(1).payload())->updates(), 4u);
  EXPECT_EQ(ParseCard(status->cards(2).payload())->updates(), 3u);
  EXPECT_EQ(ParseCard(status->cards(3).payload())->updates(), 4u);
}

// Its second training does not end before it is told to stop.
class Dawdler final : public Trainer {
 public:
  Dawdler(std::function<Trainer&()> inner, std::atomic<int>* trainings)
      : inner_(std::move(inner)), trainings_(trainings) {}

  const ModelConfig& model() const override { return inner_().model(); }
  std::string precision() const override { return inner_().precision(); }
  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    return inner_().Evaluate(adapter, examples, max_examples, stop);
  }
  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override {
    // The second of its trainings is round 1's.
    if (trainings_->fetch_add(1) == 1) {
      while (!stop) absl::SleepFor(absl::Milliseconds(1));
    }
    return inner_().Train(adapter, examples, config, checkpoints, stop,
                          progress);
  }

 private:
  const std::function<Trainer&()> inner_;
  std::atomic<int>* const trainings_;
};

// It comes back within the round, and trains again in either case.
TEST(FleetTest, WhoVanishesHasNothingOfItsTrainingHoweverQuickTheWorkerWas) {
  SmallFleet quick(4), slow(4);
  std::atomic<int> trainings{0};
  slow.replace_trainer =
      [&](size_t device,
          std::function<Trainer&()> inner) -> std::unique_ptr<Trainer> {
    if (device != 2) return nullptr;
    return std::make_unique<Dawdler>(std::move(inner), &trainings);
  };
  for (SmallFleet* fleet : {&quick, &slow}) {
    fleet->devices.vanishes[2] = 0.9;
    fleet->devices.gone = absl::Seconds(5);
    ExpectFinished(fleet->Run());
  }
  EXPECT_EQ(slow.diary.lines, quick.diary.lines);
  EXPECT_EQ(slow.adapter(), quick.adapter());
  EXPECT_EQ(quick.diary.counts[Kind::kVanished], 1);
}

TEST(FleetTest, AFleetThatIsGoneForGoodIsToldSo) {
  SmallFleet fleet(4);
  fleet.devices.never = {0, 1, 2, 3};
  fleet.run.plan.mutable_rounds()->set_attempts(1);
  const auto status = fleet.Run();
  // The run gives up by time, or nothing can happen: never a hang.
  if (status.ok()) {
    EXPECT_EQ(status->state(), v1::RunStatus::FAILED);
  } else {
    EXPECT_EQ(ExitCodeOf(status.status()), 3) << status.status();
  }
}

TEST(FleetTest, ADeviceWithoutUsableDataDeclinesAndSaysWhy) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_rounds()->set_quorum(3);
  fleet.data["device-1"].train += ".missing";
  ExpectFinished(fleet.Run());
  EXPECT_EQ(fleet.diary.counts[Kind::kDeclined], 1);
}

TEST(FleetTest, BytesAreThoseThatADeployedFleetMoves) {
  SmallFleet fleet(4);
  const auto status = fleet.Run();
  ExpectFinished(status);
  const uint64_t adapter = fleet.run.adapter_blob.size();
  const uint64_t base = fleet.run.plan.model().parts(0).size();
  EXPECT_EQ(status->bytes_up(), 4 * 3 * adapter);
  EXPECT_EQ(status->bytes_down(), 4 * (base + 4 * adapter));
  EXPECT_EQ(status->base_bytes_down(), 4 * base);
}

// --- memory

TEST(FleetTest, BlobsThatWaitInFilesChangeNothing) {
  SmallFleet held(4), spilled(4);
  spilled.spill_directory = spilled.scratch.path();
  spilled.most_blobs = 0;
  for (SmallFleet* fleet : {&held, &spilled}) ExpectFinished(fleet->Run());
  EXPECT_EQ(spilled.diary.lines, held.diary.lines);
  EXPECT_EQ(spilled.adapter(), held.adapter());
}

TEST(FleetTest, MaskedOnesNeither) {
  SmallFleet held(4), spilled(4);
  spilled.spill_directory = spilled.scratch.path();
  spilled.most_blobs = 0;
  for (SmallFleet* fleet : {&held, &spilled}) {
    testing::Mask(fleet->run.plan);
    ExpectFinished(fleet->Run());
  }
  EXPECT_EQ(spilled.diary.lines, held.diary.lines);
  EXPECT_EQ(spilled.adapter(), held.adapter());
}

TEST(FleetTest, BlobsThatCannotBeSpilledEndTheRun) {
  SmallFleet fleet(4);
  fleet.spill_directory = fleet.scratch.File("nowhere");
  fleet.most_blobs = 0;
  EXPECT_FALSE(fleet.Run().ok());
}

// A process has more than a byte.
TEST(FleetTest, ACeilingThatIsPassedEndsTheRunAndSaysHowMuchItWas) {
  SmallFleet fleet(4);
  fleet.most_memory = 1'000'000;
  const absl::Status status = fleet.Run().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("1.0 MB"));
}

TEST(FleetTest, ADeviceWithoutTheMemoryDeclinesAndSaysWhy) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_train()->set_engine("fused");
  fleet.run.plan.mutable_rounds()->set_quorum(3);
  fleet.devices.memory = {{0, 2'000'000'000}, {1, 41'000'000}};
  const auto status = fleet.Run();
  ExpectFinished(status);
  // In three rounds and the closing evaluation.
  EXPECT_EQ(fleet.diary.counts[Kind::kDeclined], 4);
  EXPECT_EQ(ParseCard(status->cards(1).payload())->updates(), 3u);
  EXPECT_THAT(fleet.diary.lines,
              ::testing::Contains(::testing::AllOf(
                  HasSubstr("declined device 1"), HasSubstr("41.0 MB"))));
}

TEST(FleetTest, OfAnotherEngineThanTheFusedOneNobodyKnowsWhatItTakes) {
  SmallFleet fleet(4);
  fleet.run.plan.mutable_train()->set_engine("reference");
  fleet.devices.memory = {{1, 1'000'000}};
  ExpectFinished(fleet.Run());
  EXPECT_EQ(fleet.diary.counts[Kind::kDeclined], 0);
}

TEST(FleetTest, ADeviceMayVanishFromTheClosingEvaluationToo) {
  SmallFleet fleet(4), again(4);
  again.workers = 3;
  for (SmallFleet* one : {&fleet, &again}) {
    one->run.plan.mutable_rounds()->set_quorum(3);
    one->devices.vanishing_round = 3;
    one->devices.vanishes[2] = 0.5;
    const auto status = one->Run();
    ExpectFinished(status);
    EXPECT_EQ(one->diary.counts[Kind::kVanished], 1);
    EXPECT_EQ(status->measures(2).clients(), 4u);
    EXPECT_EQ(status->measures(3).clients(), 3u);
  }
  EXPECT_EQ(again.diary.lines, fleet.diary.lines);
}

}  // namespace
}  // namespace edgetune
