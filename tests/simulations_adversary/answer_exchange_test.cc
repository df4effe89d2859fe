#include "simulations/adversary/answer_exchange.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "base/status.h"
#include "tests/simulations_adversary/examples.h"

namespace edgetune {
namespace {

using testing::Completion;
using ::testing::HasSubstr;
using testing::TokensWith;

std::vector<std::string> SixLines() {
  return {Completion("one ", "1"),   Completion("two ", "22"),
          Completion("three ", "3"), Completion("four ", "4444"),
          Completion("five ", "5"),  Completion("six ", "66")};
}

TEST(CyclicPermutationTest, IsOneCycleThroughAll) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const size_t n = 2 + seed % 9;
    const auto next = CyclicPermutation(n, Random(seed));
    size_t at = 0, length = 0;
    do {
      at = next[at];
      ++length;
    } while (at != 0);
    EXPECT_EQ(length, n);
  }
}

// 4 elements have 3! = 6 cycles. 6000 draws of a fair choice: each count has
// mean 1000 and deviation 29; 6 of these are not met by chance.
TEST(CyclicPermutationTest, DrawsEachCycleAsOften) {
  std::map<std::vector<size_t>, int> counts;
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    ++counts[CyclicPermutation(4, Random(seed))];
  }
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [cycle, count] : counts) EXPECT_NEAR(count, 1000, 6 * 29);
}

TEST(AnswerExchangeTest, ImagesKeepTheirPixelsAndGetAnothersClass) {
  const std::vector<uint8_t> pixels = {0, 1, 2, 3, 4};
  ExampleSet::Parts parts;
  for (int i = 0; i < 5; ++i) {
    parts.examples.push_back({{i}, {1}, std::span(pixels).subspan(i, 1)});
    parts.positions.push_back(i);
  }
  const ExampleSet honest(std::move(parts));
  const auto exchanged = ExchangeAnswers(honest, 1, Random(3));
  ASSERT_TRUE(exchanged.ok()) << exchanged.status();
  std::vector<int32_t> classes;
  for (int i = 0; i < 5; ++i) {
    const LabelledTokens& image = (*exchanged)->Get(i);
    ASSERT_EQ(image.image.size(), 1);
    EXPECT_EQ(image.image[0], i);
    EXPECT_NE(image.tokens[0], i);
    classes.push_back(image.tokens[0]);
  }
  EXPECT_THAT(classes, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4));
}

TEST(AnswerExchangeTest, KeepsPromptsAndGivesEachAnswerToAnother) {
  testing::Examples examples;
  const auto honest = examples.Read(SixLines());
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const auto exchanged = ExchangeAnswers(*honest, 256, Random(seed));
    ASSERT_TRUE(exchanged.ok()) << exchanged.status();
    std::vector<std::vector<int32_t>> before, after;
    for (int64_t i = 0; i < honest->size(); ++i) {
      EXPECT_EQ(TokensWith((*exchanged)->Get(i), false),
                TokensWith(honest->Get(i), false));
      before.push_back(TokensWith(honest->Get(i), true));
      after.push_back(TokensWith((*exchanged)->Get(i), true));
      EXPECT_NE(after.back(), before.back());
      EXPECT_EQ((*exchanged)->PositionOf(i), honest->PositionOf(i));
    }
    EXPECT_THAT(after, ::testing::UnorderedElementsAreArray(before));
  }
}

TEST(AnswerExchangeTest, FollowsFromTheSeed) {
  testing::Examples examples;
  const auto honest = examples.Read(SixLines());
  const auto tokens = [&](uint64_t seed) {
    const auto exchanged = ExchangeAnswers(*honest, 256, Random(seed));
    std::vector<std::vector<int32_t>> all;
    for (int64_t i = 0; i < honest->size(); ++i) {
      all.push_back((*exchanged)->Get(i).tokens);
    }
    return all;
  };
  EXPECT_EQ(tokens(3), tokens(3));
  // 120 cycles: that all of these are alike is not met by chance.
  EXPECT_FALSE(tokens(1) == tokens(2) && tokens(2) == tokens(3) &&
               tokens(3) == tokens(4) && tokens(4) == tokens(5));
}

TEST(AnswerExchangeTest, CutsWhatIsTooLongNow) {
  testing::Examples examples;
  const auto honest =
      examples.Read({Completion("a long prompt of words ", "x"),
                     Completion("y ", "a long answer of many words indeed")});
  const auto longest =
      std::max(honest->Get(0).tokens.size(), honest->Get(1).tokens.size());
  const auto exchanged =
      ExchangeAnswers(*honest, static_cast<int64_t>(longest), Random(1));
  ASSERT_TRUE(exchanged.ok());
  EXPECT_EQ((*exchanged)->Get(0).tokens.size(), longest);
  EXPECT_EQ((*exchanged)->Get(0).labelled.size(), longest);
  EXPECT_EQ(TokensWith((*exchanged)->Get(0), false),
            TokensWith(honest->Get(0), false));
}

TEST(AnswerExchangeTest, LeavesASingleExampleAlone) {
  testing::Examples examples;
  const auto honest = examples.Read({Completion("one ", "1")});
  const auto exchanged = ExchangeAnswers(*honest, 256, Random(1));
  ASSERT_TRUE(exchanged.ok());
  EXPECT_EQ((*exchanged)->Get(0).tokens, honest->Get(0).tokens);
}

TEST(AnswerExchangeTest, RefusesTextsWhichHaveNoAnswers) {
  testing::Examples examples;
  const auto honest = examples.Read({R"({"text":"abc"})", R"({"text":"def"})"});
  const auto exchanged = ExchangeAnswers(*honest, 256, Random(1));
  EXPECT_EQ(KindOf(exchanged.status()), ErrorKind::kData);
  EXPECT_THAT(std::string(exchanged.status().message()),
              HasSubstr("schema \"text\""));
}

}  // namespace
}  // namespace edgetune
