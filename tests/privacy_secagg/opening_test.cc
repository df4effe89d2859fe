#include "privacy/secagg/opening.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "privacy/secagg/member.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/privacy_secagg/shapes.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Secrets of a few dealers, cut among `n` holders of whom the first `m` answer.
class Dealt {
 public:
  Dealt(uint32_t threshold, uint32_t n, size_t dealers)
      : threshold_(threshold), held_(n) {
    SeededRandom random = Seeded(5);
    for (size_t d = 0; d < dealers; ++d) {
      secrets_.push_back(RandomSecret(random, kSecretSize).value());
      auto shares = ShareSecret(secrets_.back(), threshold, n, random).value();
      for (uint32_t h = 0; h < n; ++h) {
        held_[h].push_back(std::move(shares[h]));
      }
    }
  }

  void Spoil(uint32_t holder, size_t dealer) {
    held_[holder][dealer].bytes()[holder % kSecretSize] ^=
        static_cast<uint8_t>(1 + holder % 255);
  }
  Opening Of(uint32_t first, uint32_t count) const {
    std::vector<Opening::Holder> holders;
    for (uint32_t h = first; h < first + count; ++h) {
      holders.push_back({h, held_[h]});
    }
    return Opening(std::move(holders), threshold_);
  }
  // OK if it is the dealer's own secret.
  absl::Status Open(Opening& opening, size_t dealer) const {
    const auto secret = opening.Open(dealer, [&](const SecretBytes& candidate) {
      return candidate.Equals(secrets_[dealer].bytes());
    });
    return secret.status();
  }

 private:
  const uint32_t threshold_;
  std::vector<SecretBytes> secrets_;
  std::vector<std::vector<SecretBytes>> held_;
};

TEST(SecAggOpeningTest, TrueSharesOpenEverySecret) {
  const Dealt dealt(7, 10, 5);
  for (const uint32_t count : {7u, 8u, 10u}) {
    Opening opening = dealt.Of(10 - count, count);
    for (size_t d = 0; d < 5; ++d) EXPECT_TRUE(dealt.Open(opening, d).ok());
    EXPECT_THAT(opening.wrong(), IsEmpty());
  }
}

TEST(SecAggOpeningTest, ALiarIsNamedForEveryLieWhereverItStands) {
  for (const uint32_t liar : {0u, 6u, 7u, 9u}) {
    Dealt dealt(7, 10, 4);
    for (const size_t d : {0, 1, 3}) dealt.Spoil(liar, d);
    Opening opening = dealt.Of(0, 10);
    for (size_t d = 0; d < 4; ++d) EXPECT_TRUE(dealt.Open(opening, d).ok());
    EXPECT_THAT(opening.wrong(),
                ElementsAre(Pair(0, liar), Pair(1, liar), Pair(3, liar)));
  }
}

TEST(SecAggOpeningTest, TwoLiarsOfThirteenAreNamed) {
  Dealt dealt(9, 13, 2);
  for (const uint32_t liar : {0, 1}) {
    for (const size_t d : {0, 1}) dealt.Spoil(liar, d);
  }
  Opening opening = dealt.Of(0, 13);
  for (size_t d = 0; d < 2; ++d) EXPECT_TRUE(dealt.Open(opening, d).ok());
  EXPECT_THAT(opening.wrong(), UnorderedElementsAre(Pair(0, 0), Pair(0, 1),
                                                    Pair(1, 0), Pair(1, 1)));
}

// Each dealer's own holders lie: nobody is truthful about all of them.
TEST(SecAggOpeningTest, EachSecretHasItsOwnLiars) {
  Dealt dealt(7, 10, 10);
  for (uint32_t h = 0; h < 10; ++h) dealt.Spoil(h, h);
  Opening opening = dealt.Of(0, 10);
  for (size_t d = 0; d < 10; ++d) EXPECT_TRUE(dealt.Open(opening, d).ok());
  EXPECT_EQ(opening.wrong().size(), 10u);
  for (const auto& [dealer, holder] : opening.wrong()) {
    EXPECT_EQ(dealer, holder);
  }
}

TEST(SecAggOpeningTest, MoreLiarsThanCanBeCorrectedSpoilTheSecret) {
  Dealt dealt(7, 10, 1);
  dealt.Spoil(2, 0);
  dealt.Spoil(5, 0);
  Opening opening = dealt.Of(0, 10);
  EXPECT_EQ(AbortCodeOf(dealt.Open(opening, 0)), v1::RECONSTRUCT);
  EXPECT_THAT(opening.wrong(), IsEmpty());
}

// The basis is true, two of three others lie: the secret is known, the liars
// are not, because as many could have lied the other way round.
TEST(SecAggOpeningTest, MoreLiarsThanCanBeNamedAreNotNamed) {
  Dealt dealt(7, 10, 1);
  dealt.Spoil(8, 0);
  dealt.Spoil(9, 0);
  Opening opening = dealt.Of(0, 10);
  EXPECT_TRUE(dealt.Open(opening, 0).ok());
  EXPECT_THAT(opening.wrong(), IsEmpty());
}

// All shares agree, so nobody's is wrong: the dealer lied when it committed.
TEST(SecAggOpeningTest, WhoCommittedToAnotherSecretIsNotOpened) {
  const Dealt dealt(7, 10, 1);
  Opening opening = dealt.Of(0, 10);
  const auto secret = opening.Open(0, [](const SecretBytes&) { return false; });
  EXPECT_EQ(AbortCodeOf(secret.status()), v1::RECONSTRUCT);
  EXPECT_THAT(opening.wrong(), IsEmpty());
}

TEST(SecAggOpeningTest, WithExactlyTheThresholdOneLieSpoilsTheSecret) {
  Dealt dealt(7, 10, 2);
  dealt.Spoil(3, 1);
  Opening opening = dealt.Of(0, 7);
  EXPECT_TRUE(dealt.Open(opening, 0).ok());
  EXPECT_EQ(AbortCodeOf(dealt.Open(opening, 1)), v1::RECONSTRUCT);
}

// As many liars as 300 members can bear, in the first places, about everybody.
TEST(SecAggOpeningTest, AGroupOfThreeHundredBearsFortyNineLiars) {
  Dealt dealt(201, 300, 20 / kShorter);
  for (uint32_t h = 0; h < 49; ++h) {
    for (size_t d = 0; d < 20 / kShorter; ++d) dealt.Spoil(h, d);
  }
  Opening opening = dealt.Of(0, 300);
  for (size_t d = 0; d < 20 / kShorter; ++d) {
    EXPECT_TRUE(dealt.Open(opening, d).ok());
  }
  EXPECT_EQ(opening.wrong().size(), 49 * (20 / kShorter));
}

}  // namespace
}  // namespace edgetune::secagg
