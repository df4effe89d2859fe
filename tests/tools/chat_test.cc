#include "tools/local/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What is shown of the parts, and whether it stopped.
std::pair<std::string, bool> Filter(std::vector<std::string> stops,
                                    const std::vector<std::string>& parts) {
  StopStrings filter(std::move(stops));
  std::string shown;
  for (const std::string& part : parts) shown += filter.Push(part);
  shown += filter.Finish();
  return {shown, filter.stopped()};
}

TEST(StopStringsTest, EndTheTextBeforeTheFirstOfThem) {
  EXPECT_EQ(Filter({"END", "\n\n"}, {"a\n", "b E", "ND c"}),
            std::make_pair(std::string("a\nb "), true));
  EXPECT_EQ(Filter({"END", "\n\n"}, {"a\n", "\nb END"}),
            std::make_pair(std::string("a"), true));
  EXPECT_EQ(Filter({"b", "abc"}, {"a", "b", "c"}),
            std::make_pair(std::string("a"), true));
}

TEST(StopStringsTest, WhatOnlyBeganIsShownInTheEnd) {
  EXPECT_EQ(Filter({"END"}, {"xE", "N", "xEEN"}),
            std::make_pair(std::string("xENxEEN"), false));
  EXPECT_EQ(Filter({}, {"a", "b"}), std::make_pair(std::string("ab"), false));
}

TEST(StopStringsTest, HoldBackNoMoreThanMayStillBecomeOne) {
  StopStrings filter({"END"});
  EXPECT_EQ(filter.Push("abE"), "ab");
  EXPECT_EQ(filter.Push("x"), "Ex");
  EXPECT_EQ(filter.Push("EN"), "");
  EXPECT_EQ(filter.Push("EN"), "EN");
}

class ConversationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = folder_.File("model.gguf");
    ASSERT_TRUE(testing::WriteTinyModel(path, {.context = 128}).ok());
    model_ = *ModelFile::Open(path);
  }

  std::string Text(const Conversation::Prompt& prompt) {
    return model_->tokenizer().Decode(prompt.tokens, /*keep_special=*/true);
  }

  testing::ScratchDirectory folder_;
  std::unique_ptr<ModelFile> model_;
};

TEST_F(ConversationTest, EveryTurnIsSeenAgain) {
  Conversation chat(*model_, "Be kind");
  ASSERT_TRUE(chat.Say("one", 10).ok());
  chat.Hear("two");
  const auto prompt = chat.Say("three", 10);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(Text(*prompt),
            "<|im_start|>system\nBe kind<|im_end|>\n"
            "<|im_start|>user\none<|im_end|>\n"
            "<|im_start|>assistant\ntwo<|im_end|>\n"
            "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt->dropped, 0);
}

TEST_F(ConversationTest, TheOldestTurnsAreForgottenWhenTheContextIsFull) {
  Conversation chat(*model_, "S");
  int64_t dropped = 0;
  for (int i = 0; i < 6; ++i) {
    const auto prompt = chat.Say("q" + std::to_string(i) + "0123456789", 20);
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    EXPECT_LE(prompt->tokens.size() + 20, 128u);
    EXPECT_THAT(Text(*prompt), HasSubstr("system\nS"));
    EXPECT_THAT(Text(*prompt), HasSubstr("q" + std::to_string(i)));
    dropped += prompt->dropped;
    chat.Hear("a");
  }
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(chat.turns(), 6 - dropped);
  EXPECT_THAT(chat.ToJson(), Not(HasSubstr("q0")));
}

TEST_F(ConversationTest, AMessageThatNeverFitsChangesNothing) {
  Conversation chat(*model_, "");
  ASSERT_TRUE(chat.Say("one", 10).ok());
  chat.Hear("two");
  const std::string before = chat.ToJson();
  const auto prompt = chat.Say(std::string(200, '1'), 10);
  EXPECT_EQ(KindOf(prompt.status()), ErrorKind::kUsage);
  EXPECT_EQ(chat.ToJson(), before);
}

TEST(AnswerTest, FiguresLeaveOutARateThatIsUnknown) {
  ModelAnswer answer;
  answer.first_token_seconds = 0.5;
  answer.seconds = 2.5;
  EXPECT_EQ(answer.Figures(), "no tokens");
  answer.tokens = {1};
  EXPECT_EQ(answer.Figures(), "1 token, the first after 0.50 s");
  answer.tokens = {1, 2, 3};
  EXPECT_EQ(answer.Figures(), "3 tokens, 1.0 tokens/s, the first after 0.50 s");
  answer.seconds = 0.5;
  EXPECT_EQ(answer.Figures(), "3 tokens, the first after 0.50 s");
}

TEST_F(ConversationTest, WhatWasNotAnsweredIsTakenBack) {
  Conversation chat(*model_, "");
  ASSERT_TRUE(chat.Say("one", 10).ok());
  chat.Hear(std::nullopt);
  EXPECT_EQ(chat.turns(), 0);
  EXPECT_EQ(chat.ToJson(), R"({"messages":[]})");
}

TEST_F(ConversationTest, AnotherSystemMessageStartsAnew) {
  Conversation chat(*model_, "A");
  ASSERT_TRUE(chat.Say("one", 10).ok());
  chat.Hear("two");
  chat.SetSystem("B");
  const auto prompt = chat.Say("three", 10);
  EXPECT_THAT(Text(*prompt), HasSubstr("system\nB<|im_end|>"));
  EXPECT_THAT(Text(*prompt), Not(HasSubstr("one")));
}

}  // namespace
}  // namespace edgetune
