// Where frozen weights are and what is kept of a layer changes memory and
// time, never a bit of the result.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "models/fused/cpu.h"
#include "models/fused/llama.h"
#include "models/kept_prefix.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "training/fused/fused_trainer.h"

namespace edgetune {
namespace {

using testing::ListSource;
using testing::TinyModelOptions;

class FrozenWeightsTest : public ::testing::TestWithParam<BlockType> {
 protected:
  void SetUp() override {
    const std::string path = scratch_.File("model.gguf");
    ASSERT_TRUE(testing::WriteTinyModel(path, {.linear_type = GetParam(),
                                               .embedding_type = GetParam()})
                    .ok());
    model_ = *ModelFile::Open(path);
    adapter_.spec.rank = 4;
    adapter_.spec.alpha = 8;
    adapter_.spec.targets = {"q_proj", "v_proj", "o_proj", "up_proj",
                             "down_proj"};
    adapter_.layout = *AdapterLayoutOf(model_->config(), adapter_.spec);
    for (size_t i = 0; i < adapter_.layout.size(); ++i) {
      adapter_.values.push_back(0.001f * static_cast<float>(i % 101) - 0.05f);
    }
  }

  static ListSource Examples() {
    std::vector<LabelledTokens> examples(3);
    for (size_t i = 0; i < examples.size(); ++i) {
      for (size_t j = 0; j < 20 + 30 * i; ++j) {
        examples[i].tokens.push_back(static_cast<int32_t>(3 + (i + j) % 50));
        examples[i].labelled.push_back(j % 3 != 0);
      }
    }
    return ListSource(std::move(examples));
  }

  BatchGradient Gradient(const EngineOptions& options) {
    auto trainer = FusedTrainer::Make(model_, options);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    auto gradient =
        (*trainer)->ComputeGradient(adapter_, Examples(), /*micro_batch=*/2);
    EXPECT_TRUE(gradient.ok()) << gradient.status();
    return std::move(*gradient);
  }

  const testing::ScratchDirectory scratch_;
  std::shared_ptr<const ModelFile> model_;
  Adapter adapter_;
};

INSTANTIATE_TEST_SUITE_P(Types, FrozenWeightsTest,
                         ::testing::Values(BlockType::kF32, BlockType::kQ8_0,
                                           BlockType::kQ4_0, BlockType::kQ4_1,
                                           BlockType::kQ5_1),
                         [](const auto& info) {
                           return std::string(BlockShapeOf(info.param).name);
                         });

TEST_P(FrozenWeightsTest, GradientsAreTheSameWhereverTheWeightsAre) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    if (precision == Precision::kBf16 && !fused::CpuCanMultiplyBf16()) continue;
    const auto wanted = Gradient({.precision = precision,
                                  .threads = 1,
                                  .weights = WeightMemory::kCopied});
    for (const bool recompute : {false, true}) {
      const auto got = Gradient({.precision = precision,
                                 .threads = 1,
                                 .weights = WeightMemory::kMapped,
                                 .recompute = recompute});
      EXPECT_EQ(got.nll_sum, wanted.nll_sum);
      EXPECT_EQ(got.gradient, wanted.gradient);
    }
  }
}

TEST_P(FrozenWeightsTest, ChunksOfAPromptAreTheSameTogetherAndOneByOne) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < 3 * kPromptChunk; ++i) {
    ids.push_back(static_cast<int32_t>(3 + i * i % 200));
  }
  const auto lora = fused::LoraFactors::Make(model_->config(), adapter_);
  ASSERT_TRUE(lora.ok()) << lora.status();
  for (const bool bf16 : {false, true}) {
    if (bf16 && !fused::CpuCanMultiplyBf16()) continue;
    const auto logits = [&](size_t at_once) {
      auto llama = *fused::Llama::Load(model_, {.bf16 = bf16});
      llama->Reset(ids.size());
      for (size_t i = 0; i < ids.size(); i += at_once) {
        llama->Extend(std::span(ids).subspan(i, at_once), &*lora, kPromptChunk);
      }
      return llama->LastLogits();
    };
    EXPECT_EQ(logits(ids.size()), logits(kPromptChunk));
  }
}

}  // namespace
}  // namespace edgetune
