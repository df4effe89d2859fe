// Randomness that fails, and what a client leaves in memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/shamir.h"
#include "tests/privacy_secagg/bend.h"
#include "tests/privacy_secagg/memory_search.h"
#include "tests/testing/sanitized.h"

namespace edgetune::secagg {
namespace {

using ::testing::ElementsAre;
using Body = v1::SecAggClientMessage;

// Gives out bytes and keeps them, hidden, to look for them later.
class RememberingRandom final : public RandomSource {
 public:
  explicit RememberingRandom(int calls) : calls_left(calls) {}
  absl::Status Fill(std::span<uint8_t> out) override {
    if (calls_left-- <= 0) return absl::InternalError("no randomness");
    ++calls;
    EXPECT_TRUE(random_.Fill(out).ok());
    for (size_t at = 0; at + 32 <= out.size(); at += 32) {
      std::string& kept = drawn.emplace_back();
      for (size_t i = 0; i < 32; ++i) {
        kept.push_back(static_cast<char>(out[at + i] ^ kHidden));
      }
    }
    return absl::OkStatus();
  }

  int calls_left;
  int calls = 0;
  std::vector<std::string> drawn;

 private:
  SeededRandom random_ = Seeded(77);
};

// Five clients by hand, one of them with its own source of randomness.
struct ByHand {
  explicit ByHand(RandomSource& random, uint32_t index = kVictim)
      : session(FleetOfFive(), Five()) {
    SecAggClient::Options options;
    options.manifest = session.manifest;
    options.id = session.fleet.members[index].id;
    options.identity = &session.fleet.identities[index];
    options.coordinator = {session.fleet.round_key.public_key()};
    options.roster = session.fleet.root();
    options.shape = session.options.shape;
    options.random = &random;
    session.clients[index].party.emplace(std::move(options));
  }
  Harness session;
};

TEST(SecAggClientMemoryTest, A28WithoutRandomnessItAbortsAndSharesNothing) {
  RememberingRandom whole(1000);
  ByHand complete(whole);
  complete.session.Run();
  ASSERT_TRUE(complete.session.Committed());
  ASSERT_GT(whole.calls, 8);
  // The first three draws make the advertisement.
  for (int calls = 3; calls < whole.calls; ++calls) {
    RememberingRandom random(calls);
    ByHand broken(random);
    std::set<Body::BodyCase> sent;
    broken.session.to_server = [&](uint32_t index, auto& message) {
      if (index == kVictim) sent.insert(message.body_case());
      return true;
    };
    broken.session.Run();
    EXPECT_EQ(broken.session.clients[kVictim].aborted, v1::INTERNAL);
    EXPECT_THAT(sent, ElementsAre(Body::kAbort));
  }
}

TEST(SecAggClientMemoryTest, A28WithoutRandomnessItDoesNotAdvertise) {
  for (int calls = 0; calls < 3; ++calls) {
    RememberingRandom random(calls);
    ByHand broken(random);
    SecAggClient& party = *broken.session.clients[kVictim].party;
    const auto actions =
        party.Start(RingVector(broken.session.options.shape.size()));
    ASSERT_EQ(actions.size(), 2u);
    EXPECT_EQ(actions[0].message.abort(), v1::INTERNAL);
    EXPECT_EQ(actions[1].code, v1::INTERNAL);
  }
}

// How many of these, which are kept hidden, lie in memory as they were.
size_t CountInMemory(const std::vector<std::string>& secrets) {
  return std::ranges::count_if(secrets, IsInMemory);
}

// Secret keys, the seed and the polynomials' coefficients are draws of 32
// bytes. They are in memory while they are needed, and gone after R5.
TEST(SecAggClientMemoryTest, I5SecretsAreGoneFromMemoryAfterTheLastAnswer) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers map more memory than can be searched";
  RememberingRandom random(1000);
  ByHand hand(random);
  size_t before = 0, after = 1000;
  hand.session.to_client = [&](uint32_t index, v1::SecAggServerMessage& m) {
    if (index == kVictim && m.has_cohort())
      before = CountInMemory(random.drawn);
    return true;
  };
  hand.session.to_server = [&](uint32_t index, v1::SecAggClientMessage& m) {
    if (index == kVictim && m.has_unmask()) after = CountInMemory(random.drawn);
    return true;
  };
  hand.session.Run();
  EXPECT_TRUE(hand.session.Committed());
  EXPECT_GE(before, 2u);
  EXPECT_EQ(after, 0u);
}

// The victim's share of a dealer's mask key, hidden: what comes of the
// dealer's draws in the order in which a client makes them.
std::string ShareOfMaskKey() {
  SeededRandom draws = Seeded(77);
  std::array<uint8_t, kNonceBytes> nonce;
  EXPECT_TRUE(X25519Key::Generate(draws).ok());
  const auto mask_key = X25519Key::Generate(draws);
  EXPECT_TRUE(draws.Fill(nonce).ok());
  const auto seed = RandomSecret(draws, kSecretSize);
  EXPECT_TRUE(ShareSecret(*seed, 4, 5, draws).ok());
  const auto shares = ShareSecret(mask_key->secret(), 4, 5, draws);
  std::string hidden;
  for (const uint8_t byte : (*shares)[kVictim].bytes()) {
    hidden.push_back(static_cast<char>(byte ^ kHidden));
  }
  return hidden;
}

// Of a survivor the answer to R5 shows a share of the seed. With the other kind
// somebody could take off all of its masks.
TEST(SecAggClientMemoryTest, I5SharesOfTheOtherKindAreGoneAfterTheLastAnswer) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers map more memory than can be searched";
  RememberingRandom random(1000);
  ByHand hand(random, 3);
  const std::vector<std::string> share = {ShareOfMaskKey()};
  size_t before = 0, after = 1000;
  hand.session.to_client = [&](uint32_t index, v1::SecAggServerMessage& m) {
    if (index == kVictim && m.has_unmask()) before = CountInMemory(share);
    return true;
  };
  hand.session.to_server = [&](uint32_t index, v1::SecAggClientMessage& m) {
    if (index == kVictim && m.has_unmask()) after = CountInMemory(share);
    return true;
  };
  hand.session.Run();
  EXPECT_TRUE(hand.session.Committed());
  EXPECT_EQ(before, 1u);
  EXPECT_EQ(after, 0u);
}

TEST(SecAggClientMemoryTest, I5SecretsAreGoneFromMemoryAfterAnAbort) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers map more memory than can be searched";
  RememberingRandom random(1000);
  ByHand hand(random);
  RunUntil(Body::kShares, hand.session);
  EXPECT_GE(CountInMemory(random.drawn), 1u);
  hand.session.clients[kVictim].party->Fail(v1::INTERNAL, "");
  EXPECT_EQ(CountInMemory(random.drawn), 0u);
}

TEST(SecAggClientMemoryTest, I5SecretsAreGoneFromMemoryWhenItIsEnded) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers map more memory than can be searched";
  RememberingRandom random(1000);
  ByHand hand(random);
  RunUntil(Body::kShares, hand.session);
  EXPECT_GE(CountInMemory(random.drawn), 1u);
  hand.session.clients[kVictim].party->End();
  EXPECT_EQ(CountInMemory(random.drawn), 0u);
}

// Kilobytes of a line such as "VmHWM:  1234 kB".
size_t MemoryOf(std::string_view what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(what)) return std::stoul(line.substr(what.size()));
  }
  return 0;
}

// The vector is masked in its own place: beside it there is the packed copy
// that leaves, and no mask ever exists whole.
TEST(SecAggClientMemoryTest, MaskingTakesTwiceTheVector) {
  if (edgetune::testing::kSanitized)
    GTEST_SKIP() << "sanitizers keep freed memory";
  Harness::Options options = Five();
  options.shape = ShapeOf(32, 5, 12'000'000);
  Harness session(FleetOfFive(), options);
  size_t growth = 0;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index != kVictim || !message.has_open()) return index != kVictim;
    std::ofstream("/proc/self/clear_refs") << "5";
    const size_t before = MemoryOf("VmRSS:");
    session.Tell(kVictim, message);
    growth = MemoryOf("VmHWM:") - before;
    return false;
  };
  session.Run();
  const size_t vector_kb = options.shape.byte_size() / 1024;
  EXPECT_LT(growth, vector_kb * 3 / 2);
}

}  // namespace
}  // namespace edgetune::secagg
