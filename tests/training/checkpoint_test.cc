// The format is the one in training/checkpoint.h, read here byte by byte; that
// training goes on to the same bits is tested with each engine (tests/engines).

#include "training/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/training/memory_checkpoints.h"
#include "tests/training/pulling_engine.h"
#include "training/adam_w.h"
#include "training/local_training.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MemoryCheckpoints;
using testing::Numbers;
using testing::PullingEngine;

constexpr size_t kHead = 88, kDigest = 32;

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    model_.vocab = 100;
    model_.context = 8;
    adapter_.spec = {.rank = 1, .alpha = 2, .targets = {"q_proj"}};
    adapter_.layout =
        *ParameterLayout::Make({{"lora_A", {2}}, {"lora_B", {1}}});
    adapter_.values = {1, -2, 0.5f};
    for (int32_t i = 0; i < 7; ++i) {
      numbers_.examples.push_back({{1, 3 + i}, {0, 1}});
    }
    config_ = {.lr = 0.1,
               .steps = 6,
               .batch = 2,
               .micro_batch = 1,
               .schedule = Schedule::kCosine,
               .warmup = 2,
               .grad_clip = 0.5,
               .weight_decay = 0.1,
               .seed = 5,
               .round = 1,
               .rounds = 3};
  }

  // Stops after `steps` steps.
  TrainResult Train(CheckpointStore* store, int64_t steps = 100) {
    StopToken stop{false};
    PullingEngine engine(adapter_.values);
    const auto result = TrainSegment(
        {engine_, model_, adapter_, numbers_, config_, store}, stop,
        [&](const TrainProgress& at) {
          ++steps_;
          stop = at.step >= steps;
        },
        engine);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  // What comes of a segment whose checkpoint is these bytes.
  void ExpectRefused(const std::string& bytes) {
    MemoryCheckpoints store;
    store.saved = {bytes};
    AdamW optimizer(3, 0);
    std::vector<float> values = {7, 8, 9};
    const auto read = ReadCheckpoint(
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
        SegmentDigest({engine_, model_, adapter_, numbers_, config_, &store},
                      store.task()),
        config_.steps, values, optimizer);
    EXPECT_TRUE(absl::IsDataLoss(read.status())) << read.status();
    EXPECT_THAT(values, ElementsAre(7, 8, 9));
    EXPECT_THAT(optimizer.moments()[0], ElementsAre(0, 0, 0));
  }

  ModelConfig model_;
  Adapter adapter_;
  Numbers numbers_;
  TrainConfig config_;
  std::string engine_ = "pulling fp32";
  int64_t steps_ = 0;  // done by all trainings
};

template <typename T>
T At(const std::string& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

// With another digest at the end, as a program would write it.
std::string Sealed(std::string bytes) {
  bytes.resize(bytes.size() - kDigest);
  return bytes + Sha256Bytes(bytes);
}

TEST_F(CheckpointTest, HasTheBytesThatItsHeaderTells) {
  MemoryCheckpoints store;
  const TrainResult stopped = Train(&store, 4);
  ASSERT_EQ(store.saved.size(), 1u);
  const std::string& bytes = store.saved[0];
  ASSERT_EQ(bytes.size(), 120u + 12 * 3);
  EXPECT_EQ(bytes.substr(0, 8), "EDGETCP1");
  EXPECT_EQ(At<uint64_t>(bytes, 40), 3u);
  EXPECT_EQ(At<int64_t>(bytes, 48), 4);   // steps
  EXPECT_EQ(At<int64_t>(bytes, 56), 16);  // of two examples of two tokens
  EXPECT_EQ(At<double>(bytes, 64), stopped.first_loss);
  EXPECT_EQ(At<double>(bytes, 72), stopped.last_loss);
  EXPECT_EQ(At<double>(bytes, 80), stopped.seconds);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(At<float>(bytes, kHead + 4 * i) - adapter_.values[i],
              stopped.delta[i]);
    EXPECT_NE(At<float>(bytes, kHead + 12 + 4 * i), 0);  // first moments
    EXPECT_GT(At<float>(bytes, kHead + 24 + 4 * i), 0);  // second ones
  }
  EXPECT_EQ(bytes.substr(bytes.size() - kDigest),
            Sha256Bytes(bytes.substr(0, bytes.size() - kDigest)));
}

TEST_F(CheckpointTest, SegmentResumedAfterAnyStepEndsWithTheSameBits) {
  for (const Schedule schedule : {Schedule::kConstant, Schedule::kCosine}) {
    config_.schedule = schedule;
    const TrainResult whole = Train(nullptr);
    for (int64_t k = 1; k < config_.steps; ++k) {
      MemoryCheckpoints store;
      steps_ = 0;
      EXPECT_TRUE(Train(&store, k).stopped);
      const TrainResult resumed = Train(&store);
      EXPECT_EQ(steps_, config_.steps) << "no step twice";
      EXPECT_THAT(store.resumed, ElementsAre(k));
      EXPECT_EQ(resumed.resumed, k);
      EXPECT_EQ(resumed.delta, whole.delta) << k;
      EXPECT_EQ(resumed.first_loss, whole.first_loss);
      EXPECT_EQ(resumed.last_loss, whole.last_loss);
      EXPECT_EQ(resumed.tokens, whole.tokens);
      EXPECT_EQ(resumed.steps, whole.steps);
      EXPECT_FALSE(resumed.stopped);
    }
  }
}

TEST_F(CheckpointTest, SgdResumedAfterAnyStepEndsWithTheSameBits) {
  config_.optimizer = OptimizerKind::kSgd;
  config_.prox_mu = 0.3;
  for (const double momentum : {0.0, 0.9}) {
    config_.momentum = momentum;
    const TrainResult whole = Train(nullptr);
    for (int64_t k = 1; k < config_.steps; ++k) {
      MemoryCheckpoints store;
      EXPECT_TRUE(Train(&store, k).stopped);
      const TrainResult resumed = Train(&store);
      EXPECT_THAT(store.resumed, ElementsAre(k));
      EXPECT_EQ(resumed.delta, whole.delta) << momentum << " " << k;
      EXPECT_EQ(resumed.last_loss, whole.last_loss);
    }
  }
}

TEST_F(CheckpointTest, EpochsResumedInTheirLastShortBatchEndWithTheSameBits) {
  config_.epochs = 2;
  config_.batch = 3;
  config_.steps = EpochSteps(config_, 7);  // 14 examples in 5 batches
  const TrainResult whole = Train(nullptr);
  MemoryCheckpoints store;
  Train(&store, 4);
  EXPECT_EQ(Train(&store).delta, whole.delta);
  EXPECT_THAT(store.resumed, ElementsAre(4));
}

TEST_F(CheckpointTest, HoldsAsManyMomentsAsTheOptimizerHas) {
  config_.optimizer = OptimizerKind::kSgd;
  for (const auto& [momentum, moments] : {std::pair{0.0, 0}, {0.5, 1}}) {
    config_.momentum = momentum;
    MemoryCheckpoints store;
    Train(&store, 4);
    EXPECT_EQ(store.saved.back().size(), 120u + 12 * (1 + moments));
  }
}

// What its digest keeps away from it, its size does too.
TEST_F(CheckpointTest, ACheckpointOfAnotherOptimizerIsRefusedByItsSizeAlone) {
  MemoryCheckpoints store;
  Train(&store, 3);
  const std::string& bytes = store.saved[0];
  const Digest segment = SegmentDigest(
      {engine_, model_, adapter_, numbers_, config_, &store}, store.task());
  config_.optimizer = OptimizerKind::kSgd;
  config_.momentum = 0.9;
  const auto sgd = MakeOptimizer(config_, 3);
  std::vector<float> values = {7, 8, 9};
  const auto read = ReadCheckpoint(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, segment,
      config_.steps, values, *sgd);
  EXPECT_TRUE(absl::IsDataLoss(read.status())) << read.status();
  EXPECT_THAT(values, ElementsAre(7, 8, 9));
  EXPECT_THAT(sgd->moments()[0], ElementsAre(0, 0, 0));
}

TEST_F(CheckpointTest, OftenStoppedSegmentEndsWithTheSameBits) {
  const TrainResult whole = Train(nullptr);
  MemoryCheckpoints store;
  TrainResult result;
  for (int64_t k = 1; k <= config_.steps; ++k) {
    steps_ = 0;
    result = Train(&store, k);
    EXPECT_EQ(steps_, 1);
  }
  EXPECT_EQ(result.delta, whole.delta);
}

TEST_F(CheckpointTest, SavesWhenItIsDueAndWhenStopped) {
  MemoryCheckpoints store;
  Train(&store);
  EXPECT_THAT(store.saved, IsEmpty());
  store.due = true;
  Train(&store);
  EXPECT_EQ(store.saved.size(), 5u) << "not after the last step";
  store.saved.clear();
  Train(&store, 2);
  EXPECT_EQ(store.saved.size(), 2u) << "once for each step";
  StopToken stop{true};
  PullingEngine engine(adapter_.values);
  const auto result = TrainSegment(
      {engine_, model_, adapter_, numbers_, config_, &store}, stop, {}, engine);
  EXPECT_EQ(result->steps, 2);
  EXPECT_EQ(store.saved.size(), 2u) << "nothing new to save";
}

TEST_F(CheckpointTest, WhatDecidesTheResultIsComparedWithIt) {
  const std::pair<const char*, std::function<void(MemoryCheckpoints&)>>
      changes[] = {
          {"task", [&](MemoryCheckpoints& s) { s.its_task = "another"; }},
          {"engine", [&](auto&) { engine_ = "pulling bf16"; }},
          {"lr", [&](auto&) { config_.lr = 0.2; }},
          {"steps", [&](auto&) { config_.steps = 7; }},
          {"batch", [&](auto&) { config_.batch = 3; }},
          {"micro-batch", [&](auto&) { config_.micro_batch = 2; }},
          {"schedule", [&](auto&) { config_.schedule = Schedule::kConstant; }},
          {"warm-up", [&](auto&) { config_.warmup = 0; }},
          {"clipping", [&](auto&) { config_.grad_clip = 0; }},
          {"decay", [&](auto&) { config_.weight_decay = 0; }},
          {"seed", [&](auto&) { config_.seed = 6; }},
          {"round", [&](auto&) { config_.round = 2; }},
          {"rounds", [&](auto&) { config_.rounds = 4; }},
          {"factors", [&](auto&) { config_.factors = Factors::kB; }},
          {"optimiser",
           [&](auto&) { config_.optimizer = OptimizerKind::kSgd; }},
          {"objective", [&](auto&) { config_.prox_mu = 0.1; }},
          {"epochs", [&](auto&) { config_.epochs = 2; }},
          {"alpha", [&](auto&) { adapter_.spec.alpha = 4; }},
          {"adapter", [&](auto&) { adapter_.values[2] = 0.25f; }},
          {"names",
           [&](auto&) {
             adapter_.layout =
                 *ParameterLayout::Make({{"lora_B", {2}}, {"lora_A", {1}}});
           }},
          {"data", [&](auto&) { numbers_.examples[0].tokens[0] = 2; }},
          {"labels", [&](auto&) { numbers_.examples[0].labelled[0] = 1; }},
          {"one example more", [&](auto&) {
             numbers_.examples.push_back({{1, 9}, {0, 1}});
           }}};
  const auto config = config_;
  const auto adapter = adapter_;
  const auto examples = numbers_.examples;
  const auto engine = engine_;
  for (const auto& [what, change] : changes) {
    config_ = config, adapter_ = adapter, engine_ = engine;
    numbers_.examples = examples;
    MemoryCheckpoints store;
    Train(&store, 3);
    change(store);
    const TrainResult fresh = Train(nullptr);
    const TrainResult result = Train(&store);
    ASSERT_EQ(store.refused.size(), 1u) << what;
    EXPECT_THAT(store.refused[0], HasSubstr("of another plan, round"));
    EXPECT_EQ(result.resumed, 0) << what;
    EXPECT_EQ(result.delta, fresh.delta) << what;
  }
}

TEST_F(CheckpointTest, EveryTruncationIsRefused) {
  MemoryCheckpoints store;
  Train(&store, 3);
  const std::string& bytes = store.saved[0];
  for (size_t size = 0; size < bytes.size(); ++size) {
    ExpectRefused(bytes.substr(0, size));
    if (size >= kDigest) ExpectRefused(Sealed(bytes.substr(0, size)));
  }
  ExpectRefused(bytes + '\0');
  ExpectRefused(Sealed(bytes + '\0'));
}

TEST_F(CheckpointTest, EveryFlippedBitIsRefused) {
  MemoryCheckpoints store;
  Train(&store, 3);
  for (size_t bit = 0; bit < 8 * store.saved[0].size(); ++bit) {
    std::string bytes = store.saved[0];
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    ExpectRefused(bytes);
  }
}

TEST_F(CheckpointTest, SealedNonsenseIsRefused) {
  MemoryCheckpoints store;
  Train(&store, 3);
  const auto with = [&](size_t offset, auto value) {
    std::string bytes = store.saved[0];
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
    ExpectRefused(Sealed(bytes));
  };
  with(0, 'X');
  for (const uint64_t n : {uint64_t{0}, uint64_t{2}, uint64_t{4},
                           uint64_t{1} << 62, ~uint64_t{0}}) {
    with(40, n);
  }
  for (const int64_t steps : {int64_t{-1}, int64_t{0}, config_.steps}) {
    with(48, steps);
  }
  with(56, int64_t{-1});
  for (const size_t offset : {64, 72, 80}) with(offset, std::nan(""));
  with(80, -1.0);
}

}  // namespace
}  // namespace edgetune
