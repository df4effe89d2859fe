// Factors that stay on the device (lora.rule "fedsa") between the real
// coordinator and real clients in one process: A is the mean of what devices
// made of it, and each goes on with the B that its own trainings made. Nothing
// here asserts a duration.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "base/factors.h"
#include "base/units.h"
#include "client/train_plan.h"
#include "models/io/adapter/adapter_file.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::kDevices;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;

class FedSaTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kRounds = 3;

  FedSaTest() : world_(kDevices) {
    world_.run.plan.mutable_lora()->set_rule("fedsa");
    world_.run.plan.mutable_rounds()->set_weights("equal");
    layout_ = *AdapterLayout(world_.run.plan);
  }

  Device& Add(int i) {
    Device& device = world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]);
    device.on_upload = [this](std::span<const uint8_t> bytes) {
      std::lock_guard<std::mutex> lock(mu_);
      uploaded_.append(bytes.begin(), bytes.end());
    };
    return device;
  }
  void AddAll() {
    for (int i = 0; i < kDevices; ++i) Add(i).Start();
  }
  ParameterVector PartOf(const ParameterVector& adapter, Factors part) const {
    return Gather(adapter, RangesOf(layout_, part));
  }

  // What follows from the devices' own results: B of the next round is the one
  // before and its change; A is the mean. `tolerance`: of A.
  void ExpectFedSa(double tolerance = 1e-7) {
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
    const std::vector<ParameterVector> adapters = world_.Adapters();
    ASSERT_EQ(adapters.size(), 1 + kRounds);
    const ParameterVector initial_b = PartOf(adapters[0], Factors::kB);
    std::vector<ParameterVector> own(kDevices, initial_b);
    for (uint32_t round = 0; round < kRounds; ++round) {
      EXPECT_EQ(PartOf(adapters[round + 1], Factors::kB), initial_b);
      const ParameterVector a = PartOf(adapters[round], Factors::kA);
      std::vector<double> sum(a.size());
      for (int i = 0; i < kDevices; ++i) {
        const ParameterVector incoming = engines_[i].incoming()[round];
        EXPECT_EQ(PartOf(incoming, Factors::kA), a) << round << " " << i;
        EXPECT_EQ(PartOf(incoming, Factors::kB), own[i]) << round << " " << i;
        const ParameterVector delta = engines_[i].deltas()[round];
        ASSERT_EQ(delta.size(), layout_.size());
        const ParameterVector change = PartOf(delta, Factors::kB);
        for (size_t k = 0; k < change.size(); ++k) own[i][k] += change[k];
        const ParameterVector sent = PartOf(delta, Factors::kA);
        for (size_t k = 0; k < sent.size(); ++k) sum[k] += sent[k];
      }
      const ParameterVector next = PartOf(adapters[round + 1], Factors::kA);
      for (size_t k = 0; k < next.size(); ++k) {
        EXPECT_NEAR(next[k], a[k] + sum[k] / kDevices, tolerance) << k;
      }
    }
    for (int i = 0; i < kDevices; ++i) {
      // The closing evaluation is that of the last A and its own B.
      const ParameterVector evaluated = engines_[i].evaluated();
      EXPECT_EQ(PartOf(evaluated, Factors::kA),
                PartOf(adapters.back(), Factors::kA));
      EXPECT_EQ(PartOf(evaluated, Factors::kB), own[i]) << i;
      EXPECT_NE(own[i], initial_b);
      if (i > 0) {
        EXPECT_NE(own[i], own[0]);
      }
    }
    own_ = own;
  }

  // Before the world: its devices work until it goes.
  RecordingEngine engines_[kDevices];
  std::mutex mu_;
  std::string uploaded_;
  ParameterLayout layout_;
  std::vector<ParameterVector> own_;  // B of each device, in the end
  World world_;
};

TEST_F(FedSaTest, AIsTheMeanAndBIsEachDevicesOwn) {
  AddAll();
  world_.Submit();
  ExpectFedSa();
}

// Neither B nor a change of it, in any round: of no module is there as much as
// one row.
TEST_F(FedSaTest, NothingOfBLeavesADevice) {
  AddAll();
  world_.Submit();
  ExpectFedSa();
  const size_t a = LayoutOf(layout_, Factors::kA).size();
  ASSERT_EQ(uploaded_.size(), kDevices * kRounds * a * sizeof(float));
  EXPECT_EQ(world_.Status().bytes_up(), uploaded_.size());
  for (int i = 0; i < kDevices; ++i) {
    for (uint32_t round = 0; round < kRounds; ++round) {
      const ParameterVector delta = engines_[i].deltas()[round];
      for (const auto& tensor : layout_.tensors()) {
        const bool is_a = tensor.name.ends_with("lora_A");
        const std::string row =
            SerializeParameters(std::span(delta).subspan(tensor.offset, 2));
        EXPECT_EQ(uploaded_.find(row) != std::string::npos, is_a)
            << tensor.name;
      }
    }
    const std::string whole =
        SerializeParameters(std::span(own_[i]).subspan(0, 2));
    EXPECT_EQ(uploaded_.find(whole), std::string::npos);
  }
}

TEST_F(FedSaTest, MaskedItIsTheSameAlgorithm) {
  testing::Mask(world_.run.plan);
  world_.run.plan.mutable_rounds()->set_quorum(4);
  AddAll();
  world_.Submit();
  ExpectFedSa(1e-6);  // four roundings to steps of 2^-29 and less
}

// Its report lost or delivered, it is stopped there and started again.
class StoppedFedSaTest : public FedSaTest,
                         public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Report, StoppedFedSaTest, ::testing::Bool());

TEST_P(StoppedFedSaTest, ADeviceStartedAgainKeepsItsB) {
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& device = Add(3);
  std::atomic<bool> reached{false};
  device.lets_pass = [&](const v1::ClientMessage& message) {
    if (!message.has_report() || message.report().session().round() != 1 ||
        reached.exchange(true)) {
      return true;
    }
    return GetParam();
  };
  device.Start();
  world_.Submit();
  world_.WaitUntil([&](const auto&) { return reached.load(); });
  EXPECT_TRUE(device.Stop().ok());
  device.Start();
  ExpectFedSa();
  EXPECT_EQ(engines_[3].fake.trainings, static_cast<int>(kRounds));
}

// "Accepted" is said before the attempt is given up: what it made of B is
// dropped with it.
TEST_F(FedSaTest, AnAbandonedAttemptMovesNoB) {
  world_.run.plan.mutable_rounds()->set_reconnect_grace_ms(1);
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& cut = Add(3);
  std::atomic<int> lost{0};
  cut.lets_pass = [&](const v1::ClientMessage& message) {
    const v1::SessionKey& session = message.report().session();
    if (!message.has_report() || session.round() != 1 ||
        session.attempt() != 0) {
      return true;
    }
    ++lost;
    cut.transport->CutStream();
    return false;
  };
  cut.Start();
  world_.Submit();
  ExpectFedSa();
  EXPECT_GT(lost, 0);
  EXPECT_EQ(engines_[0].fake.trainings, static_cast<int>(kRounds) + 1);
}

// It says so and goes on from the published B; nobody else's training rests on
// its own.
TEST_F(FedSaTest, ADeviceThatLostItsStateBeginsAgain) {
  for (int i = 0; i < 3; ++i) Add(i).Start();
  Device& device = Add(3);
  world_.Submit();  // a device that runs once does not wait for one
  device.Start(/*once=*/true);
  EXPECT_TRUE(device.Wait().ok());
  // The second round waits for it.
  EXPECT_TRUE(device.OpenState()
                  ->Run([](Transaction& transaction) {
                    return transaction.Execute("DELETE FROM controls");
                  })
                  .ok());
  device.Start();
  ASSERT_EQ(world_.WaitEnded().state(), v1::RunStatus::FINISHED);
  const auto incoming = engines_[3].incoming();
  EXPECT_EQ(PartOf(incoming.at(1), Factors::kB),
            PartOf(incoming.at(0), Factors::kB));
  ParameterVector own = PartOf(incoming.at(1), Factors::kB);
  const ParameterVector change =
      PartOf(engines_[3].deltas().at(1), Factors::kB);
  for (size_t k = 0; k < own.size(); ++k) own[k] += change[k];
  EXPECT_EQ(PartOf(incoming.at(2), Factors::kB), own);
}

// The published A with the device's own B, as any tool reads it.
TEST_F(FedSaTest, TheClosingEvaluationLeavesEachDeviceItsOwnAdapter) {
  for (int i = 0; i < kDevices; ++i) {
    Device& device = Add(i);
    device.file.state = world_.scratch.File("state-" + std::to_string(i));
    std::filesystem::create_directories(device.file.state);
    device.Start();
  }
  world_.Submit();
  ExpectFedSa();
  const auto model = *ModelFile::Open(world_.run.model_path);
  const v1::RunStatus status = world_.Status();
  const std::string run = ToHex(std::string_view(status.run_id()));
  for (int i = 0; i < kDevices; ++i) {
    const auto adapter = ReadAdapter(
        world_.scratch.File("state-" + std::to_string(i) + "/adapters/" + run),
        model->config());
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    EXPECT_EQ(adapter->values, engines_[i].evaluated());
  }
}

// As `edgetune train` and a run with one device are the same: what that
// publishes is A; here B is compared too.
TEST(OneFedSaDeviceTest, LocalTrainingEndsWithTheDevicesOwnAdapter) {
  RecordingEngine engine;
  World world(1);
  world.run.plan.mutable_lora()->set_rule("fedsa");
  Device& device = world.AddDevice("animal", 20, &engine);
  const ClientFile file = device.file;
  device.Start();
  world.Submit();
  ASSERT_EQ(world.WaitEnded().state(), v1::RunStatus::FINISHED);
  const std::shared_ptr<const ModelFile> model =
      *ModelFile::Open(world.run.model_path);
  const auto trainer =
      *engine.fake.MakeTrainer(model, EngineOptionsOf(world.run.plan, 1));
  EXPECT_EQ(engine.evaluated(), world.TrainLocally(file, *trainer, *model));
}

}  // namespace
}  // namespace edgetune
