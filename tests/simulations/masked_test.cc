// Masked rounds between the real coordinator and real clients in one process.
// Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/checkpoint_file.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::FakeEngine;
using testing::kNames;
using testing::World;

void Add(World& world, FakeEngine& engine, int count) {
  int examples = 8;
  for (int i = 0; i < count; ++i) {
    world.AddDevice(kNames[i], examples, &engine).Start();
    examples += 5;
  }
}

v1::RoundReceipt ReceiptOf(World& world, const std::string& digest) {
  v1::Envelope envelope;
  EXPECT_TRUE(envelope.ParseFromString(world.Blob(digest)));
  EXPECT_TRUE(
      VerifyDocument(DocumentUse::kReceipt, envelope, world.keys.trusted).ok());
  v1::RoundReceipt receipt;
  EXPECT_TRUE(receipt.ParseFromString(envelope.payload()));
  return receipt;
}

bool Mentions(const v1::RunStatus& status, const std::string& text) {
  return std::any_of(status.events().begin(), status.events().end(),
                     [&](const v1::RunEvent& event) {
                       return event.text().find(text) != std::string::npos;
                     });
}

// The same devices and data, in the clear.
std::vector<ParameterVector> ClearAdapters(const std::string& weights) {
  FakeEngine engine;
  World world(4);
  world.run.plan.mutable_rounds()->set_weights(weights);
  Add(world, engine, 4);
  world.Submit();
  EXPECT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  return world.Adapters();
}

class MaskedMeanTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Weights, MaskedMeanTest,
                         ::testing::Values("examples", "equal"));

TEST_P(MaskedMeanTest, EqualsTheClearMeanWithinTheQuantisationBound) {
  FakeEngine engine;
  World world(4);
  world.run.plan.mutable_rounds()->set_weights(GetParam());
  testing::Mask(world.run.plan);
  Add(world, engine, 4);
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  const auto masked = world.Adapters();
  const auto clear = ClearAdapters(GetParam());
  ASSERT_EQ(masked.size(), clear.size());
  const auto shape =
      *MaskedShapeOf(world.run.plan, 0, v1::RoundManifest::TRAIN);
  // Each of 4 roundings is off by less than a step; the smallest weight sum is
  // 11 of 1024. Later rounds train from adapters that differ by as much.
  const double bound = 3 * 4 / shape.ScaleOf(shape.bound) / (11.0 / 1024);
  for (size_t i = 0; i < masked.back().size(); ++i) {
    ASSERT_NEAR(masked.back()[i], clear.back()[i], bound) << i;
  }
}

TEST(MaskedTest, MeasuresAreSumsOfAllAndNoSingleLossIsKept) {
  FakeEngine engine;
  World world(4);
  testing::Mask(world.run.plan);
  Add(world, engine, 4);
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.measures_size(), 4) << status.ShortDebugString();
  for (const v1::Measure& measure : status.measures()) {
    EXPECT_EQ(measure.clients(), 4u);
    EXPECT_GT(measure.tokens(), 0u);
    EXPECT_GT(measure.nll_sum(), 0);
  }
  for (const v1::ClientStatus& client : status.clients()) {
    EXPECT_EQ(client.loss(), 0);
  }
  EXPECT_FALSE(Mentions(status, "weight "));
}

TEST(MaskedTest, EveryRoundLeavesAReceiptWithEnoughSignatures) {
  FakeEngine engine;
  World world(4);
  testing::Mask(world.run.plan);
  Add(world, engine, 4);
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.receipts_size(), 4);  // three rounds and the evaluation
  for (int i = 0; i < 4; ++i) {
    const v1::RoundReceipt receipt = ReceiptOf(world, status.receipts(i));
    ASSERT_EQ(receipt.groups_size(), 1);
    EXPECT_EQ(receipt.survivors(), 4u);
    EXPECT_EQ(receipt.groups(0).threshold(), 3u);
    EXPECT_GE(receipt.groups(0).signatures_size(), 3);
    EXPECT_EQ(receipt.result_digest().empty(), i == 3);
    EXPECT_EQ(receipt.prev_receipt_digest(),
              i == 0 ? "" : status.receipts(i - 1));
  }
}

TEST(MaskedTest, AClientThatLeavesWhileTrainingOnlyShrinksTheCohort) {
  FakeEngine engine, breaking;
  World world(6);
  testing::Mask(world.run.plan);
  world.run.plan.mutable_rounds()->set_count(1);
  world.run.plan.mutable_rounds()->set_reconnect_grace_ms(50);
  Add(world, engine, 5);
  std::atomic<bool> reached{false}, stopping{false};
  breaking.on_step = [&](int64_t) {
    reached = true;
    while (!stopping) absl::SleepFor(absl::Milliseconds(1));
  };
  world.AddDevice("body", 8, &breaking).Start();
  world.Submit();
  while (!reached) absl::SleepFor(absl::Milliseconds(1));
  stopping = true;
  (void)world.devices["body"]->Stop();
  const v1::RunStatus status = world.WaitUntil(
      [](const v1::RunStatus& s) { return s.receipts_size() == 1; });
  const v1::RoundReceipt receipt = ReceiptOf(world, status.receipts(0));
  EXPECT_EQ(receipt.groups(0).cohort_size(), 5);
  EXPECT_EQ(receipt.survivors(), 5u);
}

// What it keeps is not masked, and masking begins only after it.
TEST(MaskedTest, AClientStoppedWhileTrainingGoesOnAndIsInTheSum) {
  FakeEngine engine, stopped;
  World world(4);
  testing::Mask(world.run.plan);
  world.run.plan.mutable_train()->set_steps(10);
  world.run.plan.mutable_rounds()->set_count(1);
  Add(world, engine, 4);
  (void)world.devices["animal"]->Stop();
  Device& device = world.AddDevice("animal", 8, &stopped);
  std::atomic<bool> reached{false}, stopping{false};
  stopped.on_step = [&](int64_t step) {
    if (step < 6) return;
    reached = true;
    while (!stopping) absl::SleepFor(absl::Milliseconds(1));
    // Now the client has been told, or is about to be.
    absl::SleepFor(absl::Milliseconds(50));
  };
  device.Start();
  world.Submit();
  world.WaitUntil([&](const auto&) { return reached.load(); });
  stopping = true;
  EXPECT_TRUE(device.Stop().ok());
  const std::string path = CheckpointFile::PathIn(device.file.state);
  EXPECT_TRUE(std::filesystem::exists(path));
  stopped.on_step = nullptr;
  device.Start();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(stopped.steps, 10) << "no step twice";
  EXPECT_EQ(ReceiptOf(world, status.receipts(0)).survivors(), 4u);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(MaskedTest, GroupsAddTheirSums) {
  FakeEngine engine;
  World world(16);
  testing::Mask(world.run.plan);
  world.run.plan.mutable_secagg()->set_group(8);
  world.run.plan.mutable_rounds()->set_count(1);
  for (int i = 0; i < 16; ++i) {
    world.AddDevice("device" + std::to_string(i), 8 + i, &engine).Start();
  }
  world.Submit();
  const v1::RunStatus status = world.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  const v1::RoundReceipt receipt = ReceiptOf(world, status.receipts(0));
  EXPECT_EQ(receipt.groups_size(), 2);
  EXPECT_EQ(receipt.survivors(), 16u);
}

}  // namespace
}  // namespace edgetune
