// The mean of products (lora.rule "flexlora") between the real coordinator and
// real clients in one process. Nothing here asserts a duration.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/rank_slices.h"
#include "protos/plan_check.h"
#include "tests/simulations/recording_engine.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::Device;
using testing::kNames;
using testing::RecordingEngine;
using testing::World;

using Dense = std::vector<double>;

// B A of the module whose A is tensor t, of an adapter of this layout.
Dense ProductOf(const ParameterVector& adapter, const ParameterLayout& layout,
                size_t t) {
  const auto& a = layout.tensors()[t];
  const auto& b = layout.tensors()[t + 1];
  const int64_t rank = a.shape[0], in = a.shape[1], out = b.shape[0];
  Dense product(static_cast<size_t>(out * in));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t r = 0; r < rank; ++r) {
        product[o * in + i] += double{adapter[b.offset + o * rank + r]} *
                               adapter[a.offset + r * in + i];
      }
    }
  }
  return product;
}

class FlexLoraTest : public ::testing::Test {
 protected:
  explicit FlexLoraTest(uint32_t devices = 2) : world_(devices) {
    world_.run.plan.mutable_lora()->set_rule("flexlora");
    world_.run.plan.mutable_rounds()->set_weights("equal");
    layout_ = *AdapterLayout(world_.run.plan);
  }
  Device& Add(int i) {
    return world_.AddDevice(kNames[i], 8 + 5 * i, &engines_[i]);
  }
  void ExpectFinished() {
    const v1::RunStatus status = world_.WaitEnded();
    ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
        << status.ShortDebugString();
  }
  bool Mentions(const std::string& text) {
    const v1::RunStatus status = world_.Status();
    for (const v1::RunEvent& event : status.events()) {
      if (event.text().find(text) != std::string::npos) return true;
    }
    return false;
  }

  RecordingEngine engines_[4];  // before the world
  ParameterLayout layout_;
  World world_;
};

// Two devices of rank 1 in an adapter of rank 2: nothing is cut off, so the
// published product is the mean of theirs.
TEST_F(FlexLoraTest, WhereTheRankSufficesItIsTheMeanOfProducts) {
  for (int i = 0; i < 2; ++i) {
    Device& device = Add(i);
    device.file.train.rank = 1;
    device.Start();
  }
  world_.Submit();
  ExpectFinished();
  const auto adapters = world_.Adapters();
  const ParameterLayout narrow = LayoutOfRank(layout_, 1);
  for (uint32_t round = 0; round < 3; ++round) {
    for (size_t t = 0; t < layout_.tensors().size(); t += 2) {
      Dense mean;
      for (int i = 0; i < 2; ++i) {
        ParameterVector own = engines_[i].incoming()[round];
        EXPECT_EQ(own, FirstSlices(adapters[round], layout_, 1));
        const ParameterVector delta = engines_[i].deltas()[round];
        for (size_t k = 0; k < own.size(); ++k) own[k] += delta[k];
        const Dense product = ProductOf(own, narrow, t);
        mean.resize(product.size());
        for (size_t k = 0; k < mean.size(); ++k) mean[k] += product[k] / 2;
      }
      const Dense got = ProductOf(adapters[round + 1], layout_, t);
      for (size_t k = 0; k < mean.size(); ++k) {
        EXPECT_NEAR(got[k], mean[k], 1e-5) << round << " " << t << " " << k;
      }
    }
  }
  EXPECT_TRUE(Mentions("rank 2 keeps 100.00 % of the energy"));
}

class FourFlexLoraTest : public FlexLoraTest {
 protected:
  FourFlexLoraTest() : FlexLoraTest(4) {}
};

TEST_F(FourFlexLoraTest, ACoordinatorRemadeInMidRunComesToTheSameBits) {
  std::atomic<bool> held{true};
  engines_[3].fake.on_step = [&](int64_t) {
    while (held && engines_[3].fake.trainings > 1) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  };
  for (int i = 0; i < 4; ++i) Add(i).Start();
  world_.Submit();
  world_.WaitUntil(
      [&](const auto&) { return engines_[3].fake.trainings == 2; });
  absl::SleepFor(absl::Milliseconds(50));  // for others' reports
  world_.StopServer();
  held = false;
  world_.StartServer();
  ExpectFinished();
  RecordingEngine engines[4];
  World other(4);
  *other.run.plan.mutable_lora() = world_.run.plan.lora();
  other.run.plan.mutable_rounds()->set_weights("equal");
  for (int i = 3; i >= 0; --i) {  // in another order
    other.AddDevice(kNames[i], 8 + 5 * i, &engines[i]).Start();
  }
  other.Submit();
  ASSERT_EQ(other.WaitEnded().state(), v1::RunStatus::FINISHED);
  EXPECT_EQ(other.Adapters(), world_.Adapters());
}

}  // namespace
}  // namespace edgetune
