// Log-probabilities in tests/data: transformers and PEFT in float32, made by
// tests/oracles/make_tiny_vectors.py.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "tests/engines/engine_under_test.h"
#include "tests/engines/vector_case.h"
#include "tests/testing/data_folder.h"

namespace edgetune {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using testing::kData;
using testing::MakeLanguageModelUnderTest;
using testing::ReadVectorCase;
using testing::VectorCase;

constexpr auto kRefused = absl::StatusCode::kInvalidArgument;

class LanguageModelTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto file = ModelFile::Open(kData + GetParam() + ".gguf");
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = std::move(*file);
    auto given = ReadVectorCase(kData + GetParam(), file_->config());
    ASSERT_TRUE(given.ok()) << given.status();
    given_ = std::move(*given);
    model_ = Fresh();
    ASSERT_NE(model_, nullptr);
  }

  // A model that was asked nothing yet, with the adapter.
  std::unique_ptr<LanguageModel> Fresh() {
    auto model = MakeLanguageModelUnderTest(file_, {Precision::kFp32, 1});
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return nullptr;
    EXPECT_TRUE((*model)->SetAdapter(&given_.adapter).ok());
    return std::move(*model);
  }

  const std::vector<int32_t>& Prompt() { return given_.examples.Get(0).tokens; }

  std::shared_ptr<const ModelFile> file_;
  VectorCase given_;
  std::unique_ptr<LanguageModel> model_;
};

INSTANTIATE_TEST_SUITE_P(Models, LanguageModelTest,
                         ::testing::Values("tiny_tied", "tiny_untied"));

TEST_P(LanguageModelTest, ScoresAsTransformersDoes) {
  for (int64_t i = 0; i < given_.examples.size(); ++i) {
    const auto scores = model_->ScoreTokens(given_.examples.Get(i).tokens);
    ASSERT_TRUE(scores.ok()) << scores.status();
    const auto& wanted = given_.log_probs[static_cast<size_t>(i)];
    ASSERT_EQ(scores->size(), wanted.size());
    for (size_t j = 0; j < wanted.size(); ++j) {
      EXPECT_NEAR((*scores)[j], wanted[j], 1e-4) << i << " " << j;
    }
  }
}

TEST_P(LanguageModelTest, TheAdapterChangesTheScores) {
  const auto with = model_->ScoreTokens(Prompt());
  ASSERT_TRUE(model_->SetAdapter(nullptr).ok());
  const auto without = model_->ScoreTokens(Prompt());
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_GT(std::fabs((*with)[0] - (*without)[0]), 1e-4);
}

// The cache must give what a fresh pass over the whole text gives.
TEST_P(LanguageModelTest, GreedyTokensAreTheHighestLogitsOfTheText) {
  GenerateOptions options;
  options.max_tokens = 6;
  const auto tokens = model_->Generate(Prompt(), options, {});
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  std::vector<int32_t> text = Prompt();
  for (size_t i = 0; i < 6; ++i) {
    const auto logits = model_->NextLogits(text);
    ASSERT_TRUE(logits.ok()) << logits.status();
    const auto highest = std::max_element(logits->begin(), logits->end());
    text.push_back(static_cast<int32_t>(highest - logits->begin()));
  }
  EXPECT_THAT(*tokens, ElementsAreArray(text.end() - 6, text.end()));
}

// Keskar et al., written again: what stands in the text already is divided, or
// multiplied where it is negative.
TEST_P(LanguageModelTest, ThePenaltyFallsOnThePromptAndTheAnswer) {
  GenerateOptions options;
  options.max_tokens = 8;
  options.repeat_penalty = 1.8;
  const auto tokens = model_->Generate(Prompt(), options, {});
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  std::vector<int32_t> text = Prompt();
  for (size_t i = 0; i < 8; ++i) {
    std::vector<float> logits = *model_->NextLogits(text);
    std::vector<bool> done(logits.size());
    for (const int32_t id : text) {
      if (done[id]) continue;
      done[id] = true;
      logits[id] = logits[id] < 0 ? logits[id] * 1.8f : logits[id] / 1.8f;
    }
    const auto highest = std::max_element(logits.begin(), logits.end());
    text.push_back(static_cast<int32_t>(highest - logits.begin()));
  }
  EXPECT_THAT(*tokens, ElementsAreArray(text.end() - 8, text.end()));
}

TEST_P(LanguageModelTest, GenerationEndsBeforeAStopToken) {
  GenerateOptions options;
  options.max_tokens = 4;
  const auto all = model_->Generate(Prompt(), options, {});
  ASSERT_TRUE(all.ok()) << all.status();
  options.stop_tokens = {(*all)[0]};
  EXPECT_THAT(*model_->Generate(Prompt(), options, {}), IsEmpty());
}

TEST_P(LanguageModelTest, TheListenerEndsGeneration) {
  GenerateOptions options;
  const auto tokens =
      model_->Generate(Prompt(), options, [](int32_t) { return false; });
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->size(), 1u);
}

TEST_P(LanguageModelTest, SamplingIsAFunctionOfTheSeed) {
  GenerateOptions options;
  options.temperature = 1.5;
  options.max_tokens = 20;
  const auto first = model_->Generate(Prompt(), options, {});
  const auto again = model_->Generate(Prompt(), options, {});
  options.seed = 2;
  const auto other = model_->Generate(Prompt(), options, {});
  ASSERT_TRUE(first.ok() && again.ok() && other.ok());
  EXPECT_EQ(*first, *again);
  EXPECT_NE(*first, *other);
}

// Prompts of a chat, and what breaks one: longer and longer, again, shorter,
// one token changed, all of it another.
std::vector<std::vector<int32_t>> PromptsOfAChat() {
  std::vector<int32_t> text(230);
  for (size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<int32_t>(3 + i * i % 97);
  }
  const auto first = [](std::vector<int32_t> ids, size_t n) {
    ids.resize(n);
    return ids;
  };
  std::vector<int32_t> edited = text, other = text;
  edited[100] = 200;
  other[0] = 200;
  return {first(text, 70),
          first(text, 128),
          first(text, 200),
          text,
          text,
          first(text, 66),
          first(text, 5),
          text,
          edited,
          text,
          other,
          first(text, 128)};
}

// Bit for bit: what was asked before must not be seen in an answer.
TEST_P(LanguageModelTest, WhatIsUsedAgainChangesNoResult) {
  GenerateOptions options;
  options.temperature = 1.5;
  options.max_tokens = 12;
  for (const std::vector<int32_t>& prompt : PromptsOfAChat()) {
    const auto fresh = Fresh();
    EXPECT_EQ(*model_->Generate(prompt, options, {}),
              *fresh->Generate(prompt, options, {}));
    EXPECT_EQ(*model_->NextLogits(prompt), *Fresh()->NextLogits(prompt));
  }
}

TEST_P(LanguageModelTest, NothingOfAnotherAdapterIsUsedAgain) {
  const std::vector<int32_t> prompt = PromptsOfAChat()[2];
  const auto tuned = model_->NextLogits(prompt);
  ASSERT_TRUE(model_->SetAdapter(nullptr).ok());
  const auto base = model_->NextLogits(prompt);
  ASSERT_TRUE(model_->SetAdapter(&given_.adapter).ok());
  const auto again = model_->NextLogits(prompt);
  EXPECT_EQ(*tuned, *again);
  const auto fresh = Fresh();
  EXPECT_EQ(*tuned, *fresh->NextLogits(prompt));
  ASSERT_TRUE(fresh->SetAdapter(nullptr).ok());
  EXPECT_EQ(*base, *fresh->NextLogits(prompt));
}

TEST_P(LanguageModelTest, AnAnswerThatWasStoppedIsNotKept) {
  const std::vector<int32_t> prompt = PromptsOfAChat()[1];
  GenerateOptions options;
  options.temperature = 1.5;
  options.max_tokens = 100;
  int seen = 0;
  const auto cut =
      model_->Generate(prompt, options, [&](int32_t) { return ++seen < 70; });
  ASSERT_TRUE(cut.ok()) << cut.status();
  std::vector<int32_t> next = prompt;
  next.insert(next.end(), cut->begin(), cut->end());
  EXPECT_EQ(*model_->NextLogits(next), *Fresh()->NextLogits(next));
}

TEST_P(LanguageModelTest, GenerationEndsWithTheContext) {
  const auto context = static_cast<size_t>(file_->config().context);
  const std::vector<int32_t> prompt(context - 3, 5);
  GenerateOptions options;
  options.max_tokens = 100;
  const auto tokens = model_->Generate(prompt, options, {});
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->size(), 3u);
}

TEST_P(LanguageModelTest, RefusesWhatTheModelCannotRead) {
  const auto code = [&](std::vector<int32_t> ids) {
    return model_->ScoreTokens(ids).status().code();
  };
  EXPECT_EQ(code({}), kRefused);
  EXPECT_EQ(code({3, -1}), kRefused);
  EXPECT_EQ(code({3, 1 << 20}), kRefused);
  EXPECT_EQ(code(std::vector<int32_t>(257, 3)), kRefused);  // context 256
}

TEST_P(LanguageModelTest, RefusesAnAdapterOfAnotherLayout) {
  Adapter other = given_.adapter;
  other.spec.rank += 1;
  EXPECT_EQ(model_->SetAdapter(&other).code(), kRefused);
}

}  // namespace
}  // namespace edgetune
