#include "privacy/secagg/shamir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "privacy/secagg/gf65536.h"
#include "tests/privacy_secagg/random_sources.h"

namespace edgetune::secagg {
namespace {

using ByteView = std::span<const uint8_t>;

SecretBytes RandomKey(RandomSource& random) {
  return RandomSecret(random, kSecretSize).value();
}

// `count` distinct numbers below n, in a random order.
std::vector<uint32_t> Some(uint32_t count, uint32_t n, RandomSource& random) {
  std::vector<uint32_t> all(n);
  std::iota(all.begin(), all.end(), 0);
  for (uint32_t i = 0; i < count; ++i) {
    std::swap(all[i], all[i + NextWord(random) % (n - i)]);
  }
  all.resize(count);
  return all;
}

std::vector<HeldShare> Held(const std::vector<SecretBytes>& shares,
                            const std::vector<uint32_t>& holders) {
  std::vector<HeldShare> held;
  for (const uint32_t i : holders) held.push_back({i, shares[i].bytes()});
  return held;
}

SecretBytes Combined(const std::vector<SecretBytes>& shares,
                     const std::vector<uint32_t>& holders) {
  std::vector<ByteView> parts;
  for (const uint32_t i : holders) parts.push_back(shares[i].bytes());
  return Interpolator::Make(holders).value().Combine(parts).value();
}

// Makes a share wrong: no chunk, some or all of them stay right by chance only.
void Damage(SecretBytes& share, RandomSource& random) {
  const SecretBytes noise = RandomKey(random);
  for (size_t i = 0; i < kSecretSize; ++i) {
    share.bytes()[i] ^= noise.bytes()[i];
  }
}

TEST(ShamirTest, AnyThresholdOfSharesGivesTheSecret) {
  SeededRandom random = Seeded(1);
  constexpr std::pair<uint32_t, uint32_t> kCases[] = {
      {1, 1}, {1, 5}, {3, 4}, {7, 10}, {11, 16}, {67, 100}, {201, 300}};
  for (const auto& [t, n] : kCases) {
    const SecretBytes secret = RandomKey(random);
    const auto shares = ShareSecret(secret, t, n, random).value();
    ASSERT_EQ(shares.size(), n);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(Combined(shares, Some(t, n, random)).Equals(secret.bytes()))
          << t << " of " << n;
    }
  }
}

// Written out: a_0 + a_1 x + a_2 x^2 with x = index + 1, chunk by chunk.
TEST(ShamirTest, SharesAreTheDrawnPolynomialsAtTheHoldersPoints) {
  std::array<uint8_t, 64> drawn;
  for (size_t i = 0; i < drawn.size(); ++i) {
    drawn[i] = static_cast<uint8_t>(3 * i + 1);
  }
  ScriptedRandom random(drawn);
  SecretBytes secret(kSecretSize);
  for (size_t i = 0; i < kSecretSize; ++i) {
    secret.bytes()[i] = static_cast<uint8_t>(255 - i);
  }
  const auto shares = ShareSecret(secret, 3, 5, random).value();
  const auto chunk = [](ByteView bytes, size_t i) {
    return static_cast<uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  };
  for (uint16_t x = 1; x <= 5; ++x) {
    for (size_t i = 0; i < 16; ++i) {
      const uint16_t linear = GfMultiply(chunk(drawn, i), x);
      const uint16_t square =
          GfMultiply(chunk(ByteView(drawn).subspan(32), i), GfMultiply(x, x));
      EXPECT_EQ(chunk(shares[x - 1].bytes(), i),
                chunk(secret.bytes(), i) ^ linear ^ square);
    }
  }
}

// At x = 1 a polynomial of degree 1 is secret + a_1, so a_1 = share + other
// makes the same share of another secret.
TEST(ShamirTest, OneShareLessLeavesEverySecretPossible) {
  SeededRandom random = Seeded(2);
  const auto shares = ShareSecret(RandomKey(random), 2, 2, random).value();
  for (int i = 0; i < 10; ++i) {
    const SecretBytes other = RandomKey(random);
    std::array<uint8_t, kSecretSize> drawn;
    for (size_t k = 0; k < kSecretSize; ++k) {
      drawn[k] = shares[0].bytes()[k] ^ other.bytes()[k];
    }
    ScriptedRandom chosen(drawn);
    EXPECT_TRUE(
        ShareSecret(other, 2, 2, chosen).value()[0].Equals(shares[0].bytes()));
  }
}

TEST(ShamirTest, ShareSecretRefusesBadInputs) {
  SeededRandom random = Seeded(3);
  const SecretBytes secret(kSecretSize), shorter(31), longer(33);
  EXPECT_TRUE(
      absl::IsInvalidArgument(ShareSecret(shorter, 2, 3, random).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ShareSecret(longer, 2, 3, random).status()));
  for (const auto& [t, n] : {std::pair<uint32_t, uint32_t>{0, 3},
                             {4, 3},
                             {0, 0},
                             {2, 65536},
                             {4294967295u, 4294967295u}}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(ShareSecret(secret, t, n, random).status()))
        << t << " of " << n;
  }
  FailingRandom failing(0);
  EXPECT_TRUE(absl::IsInternal(ShareSecret(secret, 2, 3, failing).status()));
}

TEST(ShamirTest, TheLastIndexIsAHolderToo) {
  SeededRandom random = Seeded(4);
  const SecretBytes secret = RandomKey(random);
  const auto shares = ShareSecret(secret, 2, 65535, random).value();
  EXPECT_TRUE(Combined(shares, {65534, 0}).Equals(secret.bytes()));
}

TEST(ShamirTest, InterpolatorRefusesBadInputs) {
  EXPECT_TRUE(absl::IsInvalidArgument(Interpolator::Make({}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Interpolator::Make({1, 2, 1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Interpolator::Make({65535}).status()));
  const auto interpolator = Interpolator::Make({0, 1}).value();
  const std::array<uint8_t, 33> bytes{};
  const ByteView good = ByteView(bytes).first(32), bad = bytes;
  EXPECT_TRUE(absl::IsInvalidArgument(
      interpolator.Combine(std::vector<ByteView>{good}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      interpolator.Combine(std::vector<ByteView>{good, good, good}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      interpolator.Combine(std::vector<ByteView>{good, bad}).status()));
}

struct Holders {
  uint32_t m, t;
};

// A16, the part that is arithmetic: f <= floor((m - t)/2) wrong shares are
// located, more are refused. Shares and who lies are drawn anew in each run.
TEST(ShamirTest, A16WrongSharesAreLocatedOrRefused) {
  constexpr Holders kCases[] = {{4, 3}, {8, 6}, {10, 7}, {10, 6}, {16, 11}};
  SeededRandom random = Seeded(5);
  for (int run = 0; run < 1000; ++run) {
    const auto [m, t] = kCases[run % std::size(kCases)];
    const uint32_t most = (m - t) / 2;
    const uint32_t f = NextWord(random) % (m - t + 1);
    const SecretBytes secret = RandomKey(random);
    auto shares = ShareSecret(secret, t, m + 2, random).value();
    const std::vector<uint32_t> holders = Some(m, m + 2, random);
    std::vector<uint32_t> liars(holders.begin(), holders.begin() + f);
    for (const uint32_t liar : liars) Damage(shares[liar], random);
    std::sort(liars.begin(), liars.end());
    const auto corrected = CorrectShares(Held(shares, holders), t);
    if (f > most) {
      ASSERT_TRUE(absl::IsDataLoss(corrected.status())) << run;
      continue;
    }
    ASSERT_TRUE(corrected.ok()) << run;
    ASSERT_TRUE(corrected->secret.Equals(secret.bytes())) << run;
    ASSERT_EQ(corrected->bad, liars) << run;
  }
}

TEST(ShamirTest, A16ALargeGroupIsCorrectedUpToTheLastLiar) {
  SeededRandom random = Seeded(6);
  const SecretBytes secret = RandomKey(random);
  auto shares = ShareSecret(secret, 67, 100, random).value();
  std::vector<uint32_t> everyone(100);
  std::iota(everyone.begin(), everyone.end(), 0);
  for (uint32_t i = 0; i < 16; ++i) Damage(shares[6 * i], random);
  const auto corrected = CorrectShares(Held(shares, everyone), 67).value();
  EXPECT_TRUE(corrected.secret.Equals(secret.bytes()));
  EXPECT_EQ(corrected.bad.size(), 16u);
  Damage(shares[1], random);
  EXPECT_TRUE(
      absl::IsDataLoss(CorrectShares(Held(shares, everyone), 67).status()));
}

TEST(ShamirTest, OneWrongChunkMakesAHolderBad) {
  SeededRandom random = Seeded(7);
  const SecretBytes secret = RandomKey(random);
  auto shares = ShareSecret(secret, 7, 10, random).value();
  std::vector<uint32_t> everyone(10);
  std::iota(everyone.begin(), everyone.end(), 0);
  shares[4].bytes()[31] ^= 1;
  const auto corrected = CorrectShares(Held(shares, everyone), 7).value();
  EXPECT_TRUE(corrected.secret.Equals(secret.bytes()));
  EXPECT_EQ(corrected.bad, std::vector<uint32_t>{4});
  // Each chunk could be corrected, but two of ten holders are wrong.
  shares[5].bytes()[0] ^= 1;
  EXPECT_TRUE(
      absl::IsDataLoss(CorrectShares(Held(shares, everyone), 7).status()));
}

TEST(ShamirTest, CorrectsNothingWhereNothingIsWrong) {
  SeededRandom random = Seeded(8);
  const SecretBytes secret = RandomKey(random), zero(kSecretSize);
  const auto shares = ShareSecret(secret, 7, 10, random).value();
  for (const uint32_t m : {7, 8, 9, 10}) {
    const auto corrected =
        CorrectShares(Held(shares, Some(m, 10, random)), 7).value();
    EXPECT_TRUE(corrected.secret.Equals(secret.bytes()));
    EXPECT_TRUE(corrected.bad.empty());
  }
  const auto zeros = ShareSecret(zero, 1, 3, random).value();
  EXPECT_TRUE(CorrectShares(Held(zeros, {0, 1, 2}), 1)
                  .value()
                  .secret.Equals(zero.bytes()));
}

TEST(ShamirTest, CorrectSharesRefusesBadInputs) {
  const std::array<uint8_t, 33> bytes{};
  const ByteView good = ByteView(bytes).first(32);
  const auto refused = [](std::vector<HeldShare> shares, uint32_t t) {
    return absl::IsInvalidArgument(CorrectShares(shares, t).status());
  };
  EXPECT_TRUE(refused({}, 0));
  EXPECT_TRUE(refused({}, 1));
  EXPECT_TRUE(refused({{0, good}, {1, good}}, 0));
  EXPECT_TRUE(refused({{0, good}, {1, good}}, 3));
  EXPECT_TRUE(refused({{0, good}, {0, good}}, 2));
  EXPECT_TRUE(refused({{0, good}, {65535, good}}, 2));
  EXPECT_TRUE(refused({{0, good}, {1, bytes}}, 2));
  EXPECT_TRUE(refused({{0, good}, {1, {}}}, 2));
}

}  // namespace
}  // namespace edgetune::secagg
