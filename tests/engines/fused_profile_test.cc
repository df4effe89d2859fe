// What the fused trainer says of where its time went.

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/engines/vector_case.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"
#include "training/fused/fused_trainer.h"

namespace edgetune {
namespace {

using testing::ListSource;

TrainResult TrainTwoSteps(bool profile) {
  const testing::ScratchDirectory scratch;
  const std::string path = scratch.File("model.gguf");
  // Weights that are de-quantised, whatever the engine's type is.
  EXPECT_TRUE(
      testing::WriteTinyModel(path, {.linear_type = BlockType::kQ8_0}).ok());
  const std::shared_ptr<const ModelFile> model = *ModelFile::Open(path);
  Adapter adapter;
  adapter.spec.targets = {"v_proj"};
  adapter.spec.rank = 2;
  adapter.spec.alpha = 4;
  adapter.layout = *AdapterLayoutOf(model->config(), adapter.spec);
  adapter.values.assign(adapter.layout.size(), 0.01f);
  const LabelledTokens example = {std::vector<int32_t>(64, 5),
                                  std::vector<uint8_t>(64, 1)};
  const TrainConfig config = {
      .steps = 2, .batch = 3, .micro_batch = 2, .profile = profile};
  const StopToken stop{false};
  return *(*FusedTrainer::Make(model, {.threads = 1}))
              ->Train(adapter, ListSource({example, example, example}), config,
                      nullptr, stop, nullptr);
}

double FlopsOf(const TrainResult& result, StepPart part) {
  return (*result.profile)[static_cast<size_t>(part)].flops;
}

TEST(FusedProfileTest, EveryPartTookTime) {
  const TrainResult result = TrainTwoSteps(/*profile=*/true);
  ASSERT_TRUE(result.profile.has_value());
  for (size_t i = 0; i < result.profile->size(); ++i) {
    EXPECT_GT((*result.profile)[i].seconds, 0) << kStepPartNames[i];
  }
}

// Two operations for a weight and a token, forward and backward; but backward
// ends before q, k, v of the first layer. Dimensions are tiny_model.h's.
TEST(FusedProfileTest, OperationsAreThoseOfTheFrozenWeights) {
  const TrainResult result = TrainTwoSteps(/*profile=*/true);
  const double qkv = 64 * (64 + 32 + 32), out = 64 * 64, mlp = 3 * 64 * 96;
  const double layer = qkv + out + mlp, tokens = 2 * 3 * 64;
  EXPECT_EQ(FlopsOf(result, StepPart::kProducts),
            2 * tokens * (4 * layer - qkv));
  EXPECT_EQ(FlopsOf(result, StepPart::kHead), 0);
}

TEST(FusedProfileTest, NothingIsMeasuredUnasked) {
  EXPECT_FALSE(TrainTwoSteps(/*profile=*/false).profile.has_value());
}

}  // namespace
}  // namespace edgetune
