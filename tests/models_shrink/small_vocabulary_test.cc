#include "models/shrink/small_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "base/status.h"
#include "tests/models_shrink/whole_model.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::OpenTinyModel;

class SmallVocabularyTest : public ::testing::Test {
 protected:
  SmallVocabularyTest() : model_(OpenTinyModel(scratch_)) {}

  const Tokenizer& tokenizer() const { return model_->tokenizer(); }
  const TokenizerData& data() const { return tokenizer().data(); }

  std::vector<int32_t> Closed(const std::vector<std::string>& tokens) const {
    std::vector<int32_t> wanted;
    for (const std::string& token : tokens) {
      wanted.push_back(tokenizer().IdOf(token));
      EXPECT_GE(wanted.back(), 0) << token;
    }
    return CloseTokens(data(), model_->config().end_tokens, wanted);
  }
  std::unique_ptr<Tokenizer> Small(const std::vector<int32_t>& kept) const {
    return Tokenizer::Make(KeepTokens(data(), kept).value()).value();
  }

  const testing::ScratchDirectory scratch_;
  const std::unique_ptr<ModelFile> model_;
};

TEST_F(SmallVocabularyTest, SpecialTokensAndBytesAlwaysStay) {
  const std::vector<int32_t> kept = Closed({});
  // Three special tokens and 256 bytes, as tests/testing/tiny_model.h says.
  ASSERT_EQ(kept.size(), 259u);
  EXPECT_EQ(kept.front(), 0);
  EXPECT_EQ(kept.back(), 258);
  const auto small = Small(kept);
  EXPECT_TRUE(small->data().merges.empty());
  std::string every;
  for (int byte = 1; byte < 256; ++byte) every += static_cast<char>(byte);
  EXPECT_EQ(small->Decode(small->Encode(every, false)), every);
  EXPECT_EQ(small->Encode("<|im_end|>", true), std::vector<int32_t>{2});
}

TEST_F(SmallVocabularyTest, WhatATokenIsBuiltOfStaysWithIt) {
  // "Ġ t", "h e", "Ġt he"; "Ġ a", "n d", "Ġa nd".
  const auto small = Small(Closed({"Ġthe"}));
  EXPECT_EQ(small->size(), 259 + 3);
  for (const char* token : {"Ġt", "he", "Ġthe"}) {
    EXPECT_GE(small->IdOf(token), 0) << token;
  }
  EXPECT_EQ(small->data().merges,
            (std::vector<std::string>{"Ġ t", "h e", "Ġt he"}));
  EXPECT_EQ(small->Encode(" the", false),
            std::vector<int32_t>{small->IdOf("Ġthe")});
  // What went is spelt.
  EXPECT_EQ(small->Encode(" and", false).size(), 4u);
}

TEST_F(SmallVocabularyTest, OfTwoWaysToATokenTheStrongerStays) {
  TokenizerData twice = data();
  for (const char* token : {"xy", "yz", "xyz"}) {
    twice.tokens.push_back(token);
    twice.types.push_back(kNormalType);
  }
  const int32_t xy = 300, yz = 301, xyz = 302;
  for (const bool left : {true, false}) {
    twice.merges = {left ? "x y" : "y z", left ? "y z" : "x y", "x yz", "xy z"};
    const std::vector<int32_t> kept = CloseTokens(twice, {}, {{xyz}});
    ASSERT_EQ(kept.size(), 259u + 2);
    EXPECT_EQ(kept[259], left ? xy : yz);
    EXPECT_EQ(kept[260], xyz);
  }
}

TEST_F(SmallVocabularyTest, TextsOfKeptTokensAreEncodedAsBefore) {
  const std::string text =
      "the cat sat on the mat and the dog is in an oat  field; other words of "
      "a sentence, listed here for an easy start to the story. Tea. 3.14\n";
  // Every token that the text has, and nothing else.
  const std::vector<int32_t> ids = tokenizer().Encode(text, false);
  const std::vector<int32_t> kept =
      CloseTokens(data(), model_->config().end_tokens, ids);
  ASSERT_LT(kept.size(), data().tokens.size());
  const auto small = Small(kept);
  std::vector<int32_t> back;
  for (const int32_t id : small->Encode(text, false)) back.push_back(kept[id]);
  EXPECT_EQ(back, ids);
}

TEST_F(SmallVocabularyTest, AnyTextIsEncodedWithAnyTokensLeft) {
  Random random(7);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<int32_t> wanted;
    for (int32_t id = 259; id < 300; ++id) {
      if (random.Uniform() < 0.4) wanted.push_back(id);
    }
    const auto kept = CloseTokens(data(), model_->config().end_tokens, wanted);
    const auto small = Small(kept);
    std::string text;
    for (int i = 0; i < 60; ++i) {
      text += data().tokens[3 + random.Below(256)];
      text += " t the and an in ing other"[random.Below(27)];
    }
    EXPECT_EQ(small->Decode(small->Encode(text, false)), text);
    // Each token, spelt out, becomes itself where it did so before.
    for (const int32_t id : kept) {
      const std::string bytes = tokenizer().Decode({{id}});
      if (tokenizer().Encode(bytes, false) != std::vector<int32_t>{id}) {
        continue;
      }
      const auto again = small->Encode(bytes, false);
      ASSERT_EQ(again.size(), 1u) << data().tokens[id];
      EXPECT_EQ(kept[again[0]], id);
    }
  }
}

TEST_F(SmallVocabularyTest, RolesAndKindsMoveWithTheirTokens) {
  TokenizerData whole = data();
  whole.tokens.push_back("<user>");
  whole.types.push_back(kUserType);
  whole.tokens.push_back("[PAD301]");
  whole.types.push_back(5);  // unused
  whole.tokens.push_back("<pad>");
  whole.types.push_back(kControlType);
  whole.after_normalizing = {300};
  whole.padding = 302;
  const std::vector<int32_t> kept = CloseTokens(whole, {}, {});
  ASSERT_EQ(kept.size(), 261u);
  const TokenizerData small = KeepTokens(whole, kept).value();
  EXPECT_EQ(small.tokens[259], "<user>");
  EXPECT_EQ(small.types[259], kUserType);
  EXPECT_EQ(small.tokens[260], "<pad>");
  EXPECT_EQ(small.padding, 260);
  EXPECT_EQ(small.bos, 1);
  EXPECT_EQ(small.eos, 2);
  EXPECT_EQ(small.after_normalizing, std::vector<int32_t>{259});
}

TEST_F(SmallVocabularyTest, AnEndTokenWithoutATokenIsLeftToTheConfiguration) {
  const std::vector<int32_t> ends = {2, 10000};
  EXPECT_EQ(CloseTokens(data(), ends, {}).size(), 259u);
}

TEST_F(SmallVocabularyTest, TheMostUsedTokensStayAsLongAsThereIsRoom) {
  Random random(11);
  const auto& ends = model_->config().end_tokens;
  for (const int64_t most : {259, 261, 264, 275, 290, 1000}) {
    std::vector<int64_t> counts(data().tokens.size());
    for (int64_t& count : counts) {
      count = static_cast<int64_t>(random.Below(6));  // with ties and zeros
    }
    // The same by closing everything anew for each token.
    std::vector<int32_t> wanted;
    for (int64_t count = 5; count > 0; --count) {
      for (size_t id = 0; id < counts.size(); ++id) {
        if (counts[id] != count) continue;
        wanted.push_back(static_cast<int32_t>(id));
        const auto closed = CloseTokens(data(), ends, wanted);
        if (static_cast<int64_t>(closed.size()) > most) wanted.pop_back();
      }
    }
    EXPECT_EQ(MostUsedTokens(data(), ends, counts, most).value(),
              CloseTokens(data(), ends, wanted));
  }
}

TEST_F(SmallVocabularyTest, TooFewTokensAreRefused) {
  const std::vector<int64_t> counts(data().tokens.size(), 1);
  const auto few =
      MostUsedTokens(data(), model_->config().end_tokens, counts, 258);
  EXPECT_EQ(KindOf(few.status()), ErrorKind::kUsage);
  EXPECT_THAT(few.status().message(), HasSubstr("259 always stay"));
}

TEST_F(SmallVocabularyTest, AListNamesTokens) {
  const auto ids = ParseTokenList("Ġthe\nhe\nĠthe\n", tokenizer()).value();
  EXPECT_EQ(ids, (std::vector<int32_t>{tokenizer().IdOf("Ġthe"),
                                       tokenizer().IdOf("he"),
                                       tokenizer().IdOf("Ġthe")}));
  EXPECT_EQ(ParseTokenList("he", tokenizer())->size(), 1u);
}

TEST_F(SmallVocabularyTest, AListWithAnythingElseIsRefused) {
  for (const auto& [text, words] :
       std::vector<std::pair<std::string, std::string>>{
           {"Ġthe\nĠcat\n", "line 2: 'Ġcat' is no token of the model"},
           {"he\n\nhe\n", "line 2: '' is no token"},
           {"he\r\n", "line 1: 'he\r' is no token"},
           {" the\n", "line 1: ' the' is no token"},
           {"\xff\n", "line 1"},
           {"", "names no token"}}) {
    const absl::Status status = ParseTokenList(text, tokenizer()).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kUsage) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
}

TEST_F(SmallVocabularyTest, KeepingRefusesWhatIsNoSelection) {
  const auto expect_refused = [&](std::vector<int32_t> kept,
                                  const char* words) {
    const absl::Status status = KeepTokens(data(), kept).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  expect_refused({0, 1, 2, 300}, "token 300 comes behind 2");
  expect_refused({0, 1, 1, 2}, "token 1 comes behind 1");
  expect_refused({-1, 0, 1, 2}, "token -1");
  expect_refused({0, 2, 3}, "token 1 has a role");
}

}  // namespace
}  // namespace edgetune
