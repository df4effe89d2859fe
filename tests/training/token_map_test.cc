#include "training/distillation/token_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TokenizerData SomeTokenizer() {
  TokenizerData data;
  data.pre = "smollm";
  data.tokens = {"<|end|>", "a", "b", "c", "ab", "abc"};
  data.types = {3, 1, 1, 1, 1, 1};
  data.merges = {"a b", "ab c"};
  data.eos = 0;
  return data;
}

ModelConfig Of(int64_t vocab) {
  ModelConfig config;
  config.vocab = vocab;
  return config;
}

TEST(TokenMapTest, OfTheSameVocabularyThereIsNone) {
  for (const int64_t vocab : {6, 64}) {  // also where rows are unused
    const auto map =
        MapTokens(Of(vocab), SomeTokenizer(), Of(vocab), SomeTokenizer());
    ASSERT_TRUE(map.ok()) << map.status();
    EXPECT_THAT(*map, IsEmpty());
  }
}

TEST(TokenMapTest, APrunedVocabularyIsFoundTokenByToken) {
  TokenizerData pruned = SomeTokenizer();
  pruned.tokens = {"c", "ab", "<|end|>", "a", "b"};
  pruned.types = {1, 1, 3, 1, 1};
  pruned.merges = {"a b"};
  const auto map = MapTokens(Of(5), pruned, Of(8), SomeTokenizer());
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(*map, ElementsAre(3, 4, 0, 1, 2));
}

TEST(TokenMapTest, APaddedTeacherServesAStudentWithoutPadding) {
  const auto map = MapTokens(Of(6), SomeTokenizer(), Of(64), SomeTokenizer());
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(*map, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(TokenMapTest, WhatDiffersIsSaid) {
  const auto refused = [](const char* words, int64_t vocab,
                          const std::function<void(TokenizerData&)>& change) {
    TokenizerData own = SomeTokenizer();
    change(own);
    const auto map = MapTokens(Of(vocab), own, Of(6), SomeTokenizer());
    EXPECT_TRUE(absl::IsInvalidArgument(map.status())) << words;
    EXPECT_THAT(std::string(map.status().message()), HasSubstr(words));
    EXPECT_EQ(KindOf(map.status()), ErrorKind::kModel);
  };
  refused("its pre-tokenizer is \"qwen2\", the teacher's \"smollm\"", 6,
          [](auto& t) { t.pre = "qwen2"; });
  refused("nfc is true", 6, [](auto& t) { t.nfc = true; });
  refused("add_bos is true", 6, [](auto& t) { t.add_bos = true; });
  refused("ignore_merges is true", 6, [](auto& t) { t.ignore_merges = true; });
  refused("its merge 1 is not", 6, [](auto& t) { t.merges[1] = "b c"; });
  refused("its token 4 is not", 6, [](auto& t) { t.tokens[4] = "zz"; });
  refused("its token 3 is of type 4, the teacher's 1", 6,
          [](auto& t) { t.types[3] = 4; });
  refused("its vocabulary of 9 has 3 rows without a token", 9, [](auto&) {});
}

TEST(TokenizerDigestTest, ChangesWithEverything) {
  const Digest digest = TokenizerDigest(SomeTokenizer());
  EXPECT_EQ(digest, TokenizerDigest(SomeTokenizer()));
  const std::function<void(TokenizerData&)> changes[] = {
      [](auto& t) { t.pre = "qwen2"; },
      [](auto& t) { t.tokens[5] = "abd"; },
      [](auto& t) { t.types[5] = 4; },
      [](auto& t) { t.merges.pop_back(); },
      [](auto& t) { std::swap(t.merges[0], t.merges[1]); },
      [](auto& t) { t.bos = 1; },
      [](auto& t) { t.eos = 1; },
      [](auto& t) { t.add_bos = true; },
      [](auto& t) { t.nfc = true; },
      [](auto& t) { t.ignore_merges = true; },
      [](auto& t) { t.after_normalizing = {0}; }};
  for (const auto& change : changes) {
    TokenizerData other = SomeTokenizer();
    change(other);
    EXPECT_NE(TokenizerDigest(other), digest);
  }
}

}  // namespace
}  // namespace edgetune
