// The published vectors of the formats design, sections 5 and 9, on the real
// model named by EDGETUNE_SMOLLM2_GGUF; computed with transformers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "models/io/model_file.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

const std::vector<int32_t> kFrance = {504, 3575, 282, 4649, 314};
const std::vector<int32_t> kDog = {
    1,    9690, 198,   2683, 359,   253,  5356, 5646,  11173, 3365,
    3511, 308,  34519, 28,   7018,  411,  407,  19712, 8182,  2,
    198,  1,    4093,  198,  43119, 42,   2767, 2,     198,   1,
    520,  9531, 198,   81,   5747,  3161, 2,    198};

class SmolLm2Test : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = std::getenv("EDGETUNE_SMOLLM2_GGUF");
    if (path_ == nullptr) GTEST_SKIP() << "EDGETUNE_SMOLLM2_GGUF is not set";
    model_ = Make(Precision::kFp32);
    ASSERT_NE(model_, nullptr);
  }

  std::unique_ptr<LanguageModel> Make(Precision precision) {
    auto file = ModelFile::Open(path_);
    auto engine = LoadEngine(GetParam());
    EXPECT_TRUE(file.ok() && engine.ok()) << file.status() << engine.status();
    if (!file.ok() || !engine.ok()) return nullptr;
    EngineOptions options;
    options.precision = precision;
    auto model = (*engine)->MakeLanguageModel(std::move(*file), options);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? std::move(*model) : nullptr;
  }

  const char* path_ = nullptr;
  std::unique_ptr<LanguageModel> model_;
};

INSTANTIATE_TEST_SUITE_P(Engines, SmolLm2Test,
                         ::testing::Values("fused", "reference"));

TEST_P(SmolLm2Test, ScoresTheCapitalOfFrance) {
  const auto scores = model_->ScoreTokens(kFrance);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_THAT(
      *scores,
      ElementsAre(FloatNear(-11.5393f, 1e-3f), FloatNear(-0.3376f, 1e-3f),
                  FloatNear(-2.4387f, 1e-3f), FloatNear(-0.4510f, 1e-3f)));
}

TEST_P(SmolLm2Test, AnswersParis) {
  const auto logits = model_->NextLogits(kFrance);
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_NEAR((*logits)[7042], 17.3713, 1e-3);
  EXPECT_NEAR((*logits)[260], 14.8886, 1e-3);
  GenerateOptions options;
  options.max_tokens = 12;
  const auto tokens = model_->Generate(kFrance, options, {});
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(*tokens, ElementsAre(7042, 30, 198, 198, 504, 2988, 314, 42, 216,
                                   34, 32, 33));
}

TEST_P(SmolLm2Test, ScoresTheAssistantsTokensOfAChat) {
  const auto scores = model_->ScoreTokens(kDog);
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_THAT(
      std::span(*scores).subspan(32, 4),
      ElementsAre(FloatNear(-5.9569f, 1e-3f), FloatNear(-5.2722f, 1e-3f),
                  FloatNear(-0.5128f, 1e-3f), FloatNear(-16.8895f, 1e-3f)));
}

// Bit for bit, with all cores: a second turn looks back at the first, of which
// the model still holds a part.
TEST_P(SmolLm2Test, ASecondTurnIsThatOfAModelThatWasAskedNothingBefore) {
  for (const Precision precision : {Precision::kFp32, Precision::kAuto}) {
    const auto model = Make(precision), fresh = Make(precision);
    ASSERT_TRUE(model != nullptr && fresh != nullptr);
    std::vector<int32_t> text;
    for (int i = 0; i < 4; ++i) {
      text.insert(text.end(), kDog.begin(), kDog.end());
    }
    GenerateOptions options;
    options.max_tokens = 24;
    const auto answer = model->Generate(text, options, {});
    ASSERT_TRUE(answer.ok()) << answer.status();
    text.insert(text.end(), answer->begin(), answer->end());
    text.insert(text.end(), kFrance.begin(), kFrance.end());
    EXPECT_EQ(*model->NextLogits(text), *fresh->NextLogits(text));
  }
}

}  // namespace
}  // namespace edgetune
