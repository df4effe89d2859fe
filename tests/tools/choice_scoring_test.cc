#include "tools/local/choice_scoring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace edgetune {
namespace {

ChoiceScores Scores() {
  // By sum the first, by token the second, by byte the third.
  return {.log_probabilities = {-4, -6, -8},
          .tokens = {1, 4, 4},
          .bytes = {2, 4, 20},
          .answer = 0};
}

TEST(ChoiceScoringTest, EachNormHasItsOwnBest) {
  EXPECT_EQ(BestChoice(Scores(), ChoiceNorm::kSum), 0u);
  EXPECT_EQ(BestChoice(Scores(), ChoiceNorm::kToken), 1u);
  EXPECT_EQ(BestChoice(Scores(), ChoiceNorm::kByte), 2u);
}

TEST(ChoiceScoringTest, TheFirstWinsATie) {
  ChoiceScores scores = Scores();
  scores.log_probabilities = {-5, -3, -3};
  EXPECT_EQ(BestChoice(scores, ChoiceNorm::kSum), 1u);
}

// The roots p of (p - hits / n)^2 = z^2 p (1 - p) / n, by numpy.roots.
TEST(ChoiceScoringTest, IntervalsAreWilsons) {
  struct Case {
    int64_t hits, n;
    double low, high;
  };
  for (const Case& c :
       {Case{0, 10, 0.0, 0.27753279986}, Case{10, 10, 0.72246720013, 1.0},
        Case{61, 100, 0.51203017046, 0.69983125994},
        Case{1, 3, 0.06149194472, 0.79234039920}}) {
    const auto [low, high] = WilsonInterval(c.hits, c.n);
    EXPECT_NEAR(low, c.low, 1e-6) << c.hits << "/" << c.n;
    EXPECT_NEAR(high, c.high, 1e-6) << c.hits << "/" << c.n;
  }
}

}  // namespace
}  // namespace edgetune
