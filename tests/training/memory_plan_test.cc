// Expected bytes: the buffers of models/fused and training/ counted by hand.

#include "training/memory_plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/status.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

TensorInfo Tensor(const std::string& name, std::vector<int64_t> shape,
                  const std::string& type, uint64_t bytes) {
  return {name, std::move(shape), type, bytes};
}

// D 64, F 96, two layers, 4 query and 2 key/value heads of 16, vocabulary 300.
// One step of four examples of 40 tokens, 10 of them labelled.
MemoryWork SmallWork() {
  MemoryWork work;
  work.model = {.hidden = 64,
                .ffn = 96,
                .layers = 2,
                .heads = 4,
                .kv_heads = 2,
                .head_dim = 16,
                .vocab = 300,
                .context = 256,
                .tied = true};
  work.tensors = {
      Tensor("model.embed_tokens.weight", {300, 64}, "F16", 38400),
      Tensor("model.norm.weight", {64}, "F32", 256),
  };
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    const auto add = [&](const char* name, int64_t out, int64_t in) {
      work.tensors.push_back(Tensor(std::string(layer) + name + ".weight",
                                    {out, in}, "F16",
                                    static_cast<uint64_t>(2 * out * in)));
    };
    add("self_attn.q_proj", 64, 64);
    add("self_attn.k_proj", 32, 64);
    add("self_attn.v_proj", 32, 64);
    add("self_attn.o_proj", 64, 64);
    add("mlp.gate_proj", 96, 64);
    add("mlp.up_proj", 96, 64);
    add("mlp.down_proj", 64, 96);
  }
  work.lora = {.rank = 4, .alpha = 8, .targets = {"q_proj", "v_proj"}};
  // Per layer: q 4 * (64 + 64), v 4 * (64 + 32).
  work.trained = 2 * (512 + 384);
  work.steps = {{{40, 10}, {40, 10}, {40, 10}, {40, 10}}};
  work.resident = 1'000'000;
  return work;
}

std::map<std::string, uint64_t> PartsOf(const MemoryWork& work,
                                        const MemoryChoice& choice) {
  const MemoryPrediction prediction = PredictMemory(work, choice);
  std::map<std::string, uint64_t> parts;
  uint64_t sum = 0;
  for (const MemoryPart& part : prediction.parts) {
    parts[part.name] = part.bytes;
    sum += part.bytes;
  }
  EXPECT_EQ(sum, prediction.peak);
  return parts;
}

constexpr uint64_t kLinears = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 +
                                   3 * 64 * 96);  // elements, both layers
constexpr uint64_t kEmbedding = 300 * 64;

TEST(MemoryPredictionTest, CopiedWeightsAreInTheComputeType) {
  const MemoryChoice copied = {.weights = WeightMemory::kCopied};
  MemoryWork work = SmallWork();
  EXPECT_EQ(PartsOf(work, copied)["weights"],
            4 * (kLinears + kEmbedding) + 256);
  work.bf16 = true;
  auto parts = PartsOf(work, copied);
  EXPECT_EQ(parts["weights"], 2 * (kLinears + kEmbedding) + 256);
  EXPECT_EQ(parts.count("one matrix, de-quantised"), 0u);
}

TEST(MemoryPredictionTest, MappedWeightsAreTheFileAndTheLargestGroup) {
  auto parts = PartsOf(SmallWork(), {});
  EXPECT_EQ(parts["weights"], 2 * (kLinears + kEmbedding) + 256);
  // Gate and up; the head's 300 rows have room of their own.
  EXPECT_EQ(parts["one matrix, de-quantised"], 4u * (2 * 96 * 64 + 300 * 64));
}

TEST(MemoryPredictionTest, OnlyGroupsAreReadWhereTheFileHasTheComputeType) {
  MemoryWork work = SmallWork();
  for (TensorInfo& tensor : work.tensors) tensor.type = "F32";
  // Gate and up lie apart in the file.
  EXPECT_EQ(PartsOf(work, {})["one matrix, de-quantised"], 4u * 2 * 96 * 64);
  work.tensors[0].type = "Q8_0";  // the head's
  EXPECT_EQ(PartsOf(work, {})["one matrix, de-quantised"],
            4u * (2 * 96 * 64 + 300 * 64));
}

TEST(MemoryPredictionTest, WhatIsLargerOrSlowInTheFileIsCopied) {
  MemoryWork work = SmallWork();
  work.bf16 = true;
  TensorInfo& embedding = work.tensors[0];
  embedding.type = "F32";
  embedding.bytes = 4 * kEmbedding;
  EXPECT_EQ(PartsOf(work, {})["weights"], 2 * (kLinears + kEmbedding) + 256);
  embedding.type = "Q6_K";
  embedding.bytes = kEmbedding;
  EXPECT_EQ(PartsOf(work, {})["weights"], 2 * (kLinears + kEmbedding) + 256);
  embedding.type = "Q8_0";
  EXPECT_EQ(PartsOf(work, {})["weights"], 2 * kLinears + kEmbedding + 256);
}

TEST(MemoryPredictionTest, LinearsIn8BitsHaveAScaleARow) {
  MemoryWork work = SmallWork();
  work.int8 = true;
  work.bf16 = true;
  const uint64_t rows = 2 * (64 + 32 + 32 + 64 + 96 + 96 + 64);
  EXPECT_EQ(PartsOf(work, {.weights = WeightMemory::kCopied})["weights"],
            kLinears + 4 * rows + 2 * kEmbedding + 256);
}

TEST(MemoryPredictionTest, EveryLayerKeepsItsTrace) {
  // Two examples a pass: 80 tokens, filled up to 128. A token's trace: x twice
  // 2 * 256, qkv 4 * 128, attended 256, gate and up 4 * 192, s A x 4 * 8, a sum
  // a head 16.
  EXPECT_EQ(PartsOf(SmallWork(), {.micro_batch = 2})["kept for the way back"],
            2u * 128 * (512 + 512 + 256 + 768 + 32 + 16));
}

TEST(MemoryPredictionTest, RecomputingKeepsWhatComesInAndOneTrace) {
  EXPECT_EQ(PartsOf(SmallWork(), {.recompute = true,
                                  .micro_batch = 2})["kept for the way back"],
            128u * (2 * 256 + 3 * 256 + 512 + 256 + 768 + 32 + 16));
}

TEST(MemoryPredictionTest, AttentionHasScratchAThread) {
  MemoryWork work = SmallWork();
  // A sequence of 40 becomes 48, its filler of 24 less. Forward: four [48,16]
  // and a [48]; backward: two and two more and a [48]; four blocks [48,48].
  const uint64_t one = 4 * (8 * 48 * 16 + 2 * 48 + 4 * 48 * 48);
  EXPECT_EQ(PartsOf(work, {})["attention"], one);
  work.threads = 3;
  EXPECT_EQ(PartsOf(work, {})["attention"], 3 * one);
}

TEST(MemoryPredictionTest, HeadWorksOnRoundedLabels) {
  // 10 labels become 32: rows, normed, targets, sums of 64, logits and
  // exponentials of 300, four numbers; and gradients of the 10.
  EXPECT_EQ(PartsOf(SmallWork(), {})["head"],
            32u * (4 * (4 * 64 + 2 * 300) + 16) + 4 * 64 * 10);
}

TEST(MemoryPredictionTest, OptimiserHoldsTheAdapterTwiceAndTheTrainedSixTimes) {
  MemoryWork work = SmallWork();
  EXPECT_EQ(PartsOf(work, {})["gradient and optimiser"], 4u * 8 * 1792);
  work.trained = 100;
  EXPECT_EQ(PartsOf(work, {})["gradient and optimiser"], 4u * (2 * 1792 + 600));
}

TEST(MemoryPredictionTest, HeldOutExamplesCountWhereTheyNeedMore) {
  MemoryWork work = SmallWork();
  const auto before = PartsOf(work, {});
  work.held_out = {{40, 10}};
  EXPECT_EQ(PartsOf(work, {})["head"], before.at("head"));
  // Packed to 1,024 tokens: 25 examples of 40, 250 labels.
  work.held_out.assign(30, {40, 10});
  EXPECT_EQ(
      PartsOf(work, {})["head"],
      256u * (4 * (2 * 64 + 300) + 16) + 32 * 4 * (2 * 64 + 300) + 4 * 64 * 10);
}

TEST(MemoryPredictionTest, OrderOfExamplesDecidesThePass) {
  MemoryWork work = SmallWork();
  work.steps = {{{100, 9}, {100, 9}, {20, 9}, {20, 9}}};
  const auto together = PartsOf(work, {.micro_batch = 2});
  work.steps = {{{100, 9}, {20, 9}, {100, 9}, {20, 9}}};
  const auto apart = PartsOf(work, {.micro_batch = 2});
  // 256 tokens a pass and 128.
  EXPECT_EQ(together.at("kept for the way back"),
            2 * apart.at("kept for the way back"));
}

// --- choices

class MemoryPlanTest : public ::testing::Test {
 protected:
  MemoryPlanTest() {
    work_.steps = {{{200, 50}, {200, 50}, {200, 50}, {200, 50}}};
  }
  uint64_t PeakOf(const MemoryChoice& choice) const {
    return PredictMemory(work_, choice).peak;
  }
  MemoryChoice Within(uint64_t budget) const {
    const auto plan = PlanMemory(work_, 4, budget);
    EXPECT_TRUE(plan.ok()) << plan.status();
    if (!plan.ok()) return {};
    EXPECT_TRUE(budget == 0 || plan->prediction.peak <= budget);
    return plan->choice;
  }

  MemoryWork work_ = SmallWork();
};

TEST_F(MemoryPlanTest, EnoughMemoryGivesWhatWasAsked) {
  EXPECT_EQ(Within(0), (MemoryChoice{.micro_batch = 4}));
  const uint64_t whole = PeakOf({.micro_batch = 4});
  EXPECT_EQ(Within(whole), (MemoryChoice{.micro_batch = 4}));
}

// Many short examples: a pass of few costs more than computing again.
TEST_F(MemoryPlanTest, ShortExamplesAreRatherComputedAgain) {
  work_.steps = {std::vector<ExampleSize>(4, {30, 10})};
  work_.model.layers = 40;
  const MemoryChoice kept = {.micro_batch = 2};
  const MemoryChoice again = {.recompute = true, .micro_batch = 4};
  ASSERT_LT(PeakOf(again), PeakOf(kept));
  // 128 tokens and 64 for the pass, 1.35 times; two passes of 64 and 64.
  EXPECT_DOUBLE_EQ(RelativeTime(work_, again), 1.35 * (128 + 64));
  EXPECT_DOUBLE_EQ(RelativeTime(work_, {.micro_batch = 1}), 4 * (64 + 64));
  EXPECT_EQ(Within(PeakOf(kept) - 1), again);
}

TEST_F(MemoryPlanTest, FirstExamplesAPassAreGivenUp) {
  const uint64_t whole = PeakOf({.micro_batch = 4});
  // Three examples a pass are no fewer passes than two.
  EXPECT_EQ(Within(whole - 1), (MemoryChoice{.micro_batch = 2}));
  EXPECT_EQ(Within(PeakOf({.micro_batch = 2}) - 1),
            (MemoryChoice{.micro_batch = 1}));
}

TEST_F(MemoryPlanTest, ThenActivationsAreComputedAgain) {
  const uint64_t kept = PeakOf({.micro_batch = 1});
  const MemoryChoice choice = Within(kept - 1);
  EXPECT_TRUE(choice.recompute);
  EXPECT_EQ(choice.max_length, 0);
  // With deeper models as many examples as fit.
  work_.model.layers = 40;
  const MemoryChoice deep = Within(PeakOf({.micro_batch = 1}) - 1);
  EXPECT_EQ(deep, (MemoryChoice{.recompute = true, .micro_batch = 4}));
}

TEST_F(MemoryPlanTest, LastExamplesAreCutAsLittleAsNeeded) {
  const MemoryChoice least = {.recompute = true, .micro_batch = 1};
  MemoryChoice wanted = least;
  wanted.max_length = 192;
  EXPECT_EQ(Within(PeakOf(least) - 1), wanted);
  wanted.max_length = 64;
  EXPECT_EQ(Within(PeakOf(wanted)), wanted);
}

TEST_F(MemoryPlanTest, RefusalSaysWhatIsNeededGivenAndWouldWork) {
  const MemoryChoice least = {
      .recompute = true, .micro_batch = 1, .max_length = 64};
  const auto plan = PlanMemory(work_, 4, PeakOf(least) - 1);
  ASSERT_TRUE(absl::IsResourceExhausted(plan.status()));
  EXPECT_EQ(KindOf(plan.status()), ErrorKind::kFailed);
  const std::string message(plan.status().message());
  const auto text = [](uint64_t bytes) {
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
  };
  EXPECT_THAT(message,
              HasSubstr("training needs at least " + text(PeakOf(least))));
  EXPECT_THAT(message,
              HasSubstr("the memory budget is " + text(PeakOf(least) - 1)));
  const std::string hint = HintOf(plan.status());
  const auto megabytes = [](uint64_t bytes) {
    return std::to_string((bytes + 999'999) / 1'000'000) + "MB";
  };
  EXPECT_THAT(
      hint, HasSubstr("a memory budget of " + megabytes(PeakOf(least)) +
                      " works with examples cut to 64 tokens, " +
                      megabytes(PeakOf({.recompute = true, .micro_batch = 1})) +
                      " with whole ones"));
  EXPECT_THAT(hint, HasSubstr("lower lora.rank"));
}

TEST_F(MemoryPlanTest, ShortExamplesAreNeverCut) {
  work_.steps = {{{40, 10}, {40, 10}}};
  const auto plan = PlanMemory(work_, 2, 1'000'000);
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(HintOf(plan.status()), Not(HasSubstr("cut")));
}

TEST_F(MemoryPlanTest, LargeBatchesAreTriedByTheirPasses) {
  work_.steps = {std::vector<ExampleSize>(4096, {200, 50})};
  const uint64_t one = PeakOf({.micro_batch = 1});
  const auto plan = PlanMemory(work_, 4096, one);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->choice.micro_batch, 1);
}

TEST(MemoryPlanTextTest, NamesWhatWasGivenUp) {
  MemoryPlan plan;
  plan.choice.micro_batch = 4;
  plan.prediction.peak = 431'200'000;
  EXPECT_EQ(MemoryPlanText(plan), "4 examples a pass; 431.2 MB predicted");
  plan.choice = {.recompute = true, .micro_batch = 1, .max_length = 192};
  EXPECT_EQ(MemoryPlanText(plan),
            "1 example a pass, activations computed again, examples cut to 192 "
            "tokens; 431.2 MB predicted");
}

}  // namespace
}  // namespace edgetune
