// Frozen rank slices that make the mean of products exact (lora.rule "fedex"
// and "flora") between the real coordinator and real clients in one process.
// Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/initial_factors.h"
#include "base/rank_slices.h"
#include "client/train_plan.h"
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

constexpr int64_t kRank = 2;     // that is trained
constexpr int64_t kFrozen = 30;  // of linears with 32 outputs and more
using Dense = std::vector<double>;

// Adds share * B A of the module whose A is tensor t to `sum`.
void AddProduct(const ParameterVector& adapter, const ParameterLayout& layout,
                size_t t, double share, Dense& sum) {
  const auto& a = layout.tensors()[t];
  const auto& b = layout.tensors()[t + 1];
  const int64_t rank = a.shape[0], in = a.shape[1], out = b.shape[0];
  sum.resize(static_cast<size_t>(out * in));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t r = 0; r < rank; ++r) {
        sum[o * in + i] += share * adapter[b.offset + o * rank + r] *
                           adapter[a.offset + r * in + i];
      }
    }
  }
}

class FrozenSlicesTest : public ::testing::TestWithParam<const char*> {
 protected:
  FrozenSlicesTest() : world_(kDevices) {
    UseFrozen(world_.run, GetParam(), kFrozen);
    world_.run.plan.mutable_rounds()->set_weights("equal");
    layout_ = *AdapterLayout(world_.run.plan);
  }
  Device& Add(int i) {
    return world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]);
  }
  bool IsFlora() const { return std::string(GetParam()) == "flora"; }
  // That device i trains of its adapter.
  int64_t RankOf(int i) const { return std::min(ranks_[i], kRank); }

  // What all slices compute is the mean of what the devices' adapters do; the
  // trained ones are the mean of the devices', or new ones.
  void ExpectExact() {
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
    const auto adapters = world_.Adapters();
    ASSERT_EQ(adapters.size(), 4u);
    for (uint32_t round = 0; round + 1 < adapters.size(); ++round) {
      for (size_t t = 0; t < layout_.tensors().size(); t += 2) {
        ExpectProduct(adapters[round + 1], round, t);
      }
      // Without them products would be off by more than is allowed.
      EXPECT_GT(LargestFrozen(adapters[round + 1]), 1e-5);
      ExpectTrained(adapters[round], adapters[round + 1], round);
    }
  }

  void ExpectProduct(const ParameterVector& next, uint32_t round, size_t t) {
    Dense mean, got;
    for (int i = 0; i < kDevices; ++i) {
      const int64_t rank = RankOf(i) + kFrozen;
      const ParameterLayout own = LayoutOfRank(layout_, rank);
      ParameterVector adapter = engines_[i].incoming()[round];
      ASSERT_EQ(adapter.size(), own.size());
      const ParameterVector delta = engines_[i].deltas()[round];
      const auto ranges = SliceRanges(own, RankOf(i));
      ParameterVector trained = Gather(adapter, ranges);
      ASSERT_EQ(delta.size(), trained.size());
      for (size_t k = 0; k < delta.size(); ++k) trained[k] += delta[k];
      Scatter(trained, ranges, adapter);
      AddProduct(adapter, own, t, 1.0 / kDevices, mean);
    }
    AddProduct(next, layout_, t, 1, got);
    for (size_t k = 0; k < mean.size(); ++k) {
      // Factors are float32 of about 1, products below 1 of 32 slices.
      EXPECT_NEAR(got[k], mean[k], 1e-6) << round << " " << t << " " << k;
    }
  }

  // Of what the frozen slices alone compute.
  double LargestFrozen(const ParameterVector& adapter) {
    double largest = 0;
    const ParameterVector frozen = WithoutSlices(adapter, layout_, 0, kRank);
    for (size_t t = 0; t < layout_.tensors().size(); t += 2) {
      Dense product;
      AddProduct(frozen, LayoutOfRank(layout_, kFrozen), t, 1, product);
      for (const double v : product) largest = std::max(largest, std::fabs(v));
    }
    return largest;
  }

  void ExpectTrained(const ParameterVector& before,
                     const ParameterVector& after, uint32_t round) {
    const ParameterVector from = FirstSlices(before, layout_, kRank);
    const ParameterVector got = FirstSlices(after, layout_, kRank);
    const ParameterVector anew =
        InitialFactors(LayoutOfRank(layout_, kRank),
                       world_.run.plan.train().seed(), round + 1);
    for (size_t k = 0; k < got.size(); ++k) {
      double wanted = anew[k];
      if (!IsFlora()) {
        wanted = from[k];
        for (const RecordingEngine& engine : engines_) {
          wanted += double{engine.deltas()[round][k]} / kDevices;
        }
      }
      EXPECT_NEAR(got[k], wanted, 1e-6) << round << " " << k;
    }
  }

  bool Mentions(const std::string& text) {
    const v1::RunStatus status = world_.Status();
    for (const v1::RunEvent& event : status.events()) {
      if (event.text().find(text) != std::string::npos) return true;
    }
    return false;
  }

  RecordingEngine engines_[kDevices];  // before the world
  int64_t ranks_[kDevices] = {kRank, kRank, kRank, kRank};
  ParameterLayout layout_;
  World world_;
};
INSTANTIATE_TEST_SUITE_P(Rules, FrozenSlicesTest,
                         ::testing::Values("fedex", "flora"));

TEST_P(FrozenSlicesTest, TheNextAdapterComputesTheMeanOfTheDevices) {
  for (int i = 0; i < kDevices; ++i) Add(i).Start();
  world_.Submit();
  ExpectExact();
  EXPECT_TRUE(Mentions("frozen rank 30 keeps 100.00 % of the energy of what"));
  // What is sent has the trained slices alone.
  EXPECT_EQ(world_.Status().bytes_up(),
            kDevices * 3 * LayoutOfRank(layout_, kRank).size() * 4);
}

TEST_P(FrozenSlicesTest, ACoordinatorRemadeInMidRunComesToTheSameBits) {
  std::atomic<bool> held{true};
  engines_[3].fake.on_step = [&](int64_t) {
    while (held && engines_[3].fake.trainings > 1) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  };
  for (int i = 0; i < kDevices; ++i) Add(i).Start();
  world_.Submit();
  world_.WaitUntil(
      [&](const auto&) { return engines_[3].fake.trainings == 2; });
  absl::SleepFor(absl::Milliseconds(50));  // for others' reports
  world_.StopServer();
  held = false;
  world_.StartServer();
  ExpectExact();
  RecordingEngine engines[kDevices];
  World other(kDevices);
  *other.run.plan.mutable_lora() = world_.run.plan.lora();
  other.run.adapter_blob = world_.run.adapter_blob;
  other.run.plan.mutable_rounds()->set_weights("equal");
  for (int i = kDevices - 1; i >= 0; --i) {  // in another order
    other.AddDevice(kNames[i], 8 + 5 * i, &engines[i]).Start();
  }
  other.Submit();
  ASSERT_EQ(other.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(other.Adapters(), world_.Adapters());
}

TEST_P(FrozenSlicesTest, DevicesOfSmallerRankTrainTheirsOrDecline) {
  ranks_[0] = 1;
  ranks_[2] = 4;
  world_.run.plan.mutable_rounds()->set_quorum(3);
  for (int i = 0; i < kDevices; ++i) {
    Device& device = Add(i);
    device.file.train.rank = ranks_[i];
    device.Start();
  }
  world_.Submit();
  if (IsFlora()) {
    ExpectExact();
    EXPECT_EQ(engines_[0].evaluated().size(),
              LayoutOfRank(layout_, 1 + kFrozen).size());
    return;
  }
  ASSERT_EQ(world_.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(engines_[0].fake.trainings, 0);
  EXPECT_TRUE(Mentions("rank 2, this device trains at most 1"));
}

// Products of the fake engine are all but of rank 1: one slice is enough.
TEST_P(FrozenSlicesTest, ALimitOfOneSliceIsKeptAndToldInTheLog) {
  World small(kDevices);
  UseFrozen(small.run, GetParam(), 1);
  RecordingEngine engines[kDevices];
  for (int i = 0; i < kDevices; ++i) {
    small.AddDevice(kNames[i], 8 + 5 * i, &engines[i]).Start();
  }
  small.Submit();
  const v1::RunStatus status = small.WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED);
  int told = 0;
  for (const v1::RunEvent& event : status.events()) {
    if (event.text().find("frozen rank 1 keeps ") == std::string::npos)
      continue;
    ++told;
  }
  EXPECT_EQ(told, 3);
}

}  // namespace
}  // namespace edgetune
