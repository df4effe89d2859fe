#include "privacy/crypto/key_agreement.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/units.h"
#include "tests/privacy_crypto/given.h"

namespace edgetune {
namespace {

using testing::Hex;

X25519Key KeyOf(std::string_view secret) {
  return X25519Key::FromSecret(ByteSpan(secret)).value();
}

// X25519(scalar, u) of RFC 7748.
std::string X25519(std::string_view scalar, std::string_view u) {
  const SecretBytes shared = KeyOf(scalar).Agree(ByteSpan(u)).value();
  return std::string(shared.bytes().begin(), shared.bytes().end());
}

// RFC 7748, section 5.2.
TEST(X25519Test, EqualsThePublishedVectors) {
  EXPECT_EQ(ToHex(X25519(Hex("a546e36bf0527c9d3b16154b82465edd"
                             "62144c0ac1fc5a18506a2244ba449ac4"),
                         Hex("e6db6867583030db3594c1a424b15f7c"
                             "726624ec26b3353b10a903a6d0ab1c4c"))),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  EXPECT_EQ(ToHex(X25519(Hex("4b66e9d4d1b4673c5ad22691957d6af5"
                             "c11b6421e0ea01d42ca4169e7918ba0d"),
                         Hex("e5210f12786811d3f4b7959d0538ae2c"
                             "31dbe7106fc03c3efc4cd549c715a493"))),
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
}

// RFC 7748, section 5.2: k, u = X25519(k, u), k a thousand times.
TEST(X25519Test, EqualsThePublishedChainOfAThousand) {
  std::string k(32, '\0');
  k[0] = 9;
  std::string u = k;
  for (int i = 1; i <= 1000; ++i) {
    std::string next = X25519(k, u);
    u = std::exchange(k, std::move(next));
    if (i == 1) {
      EXPECT_EQ(
          ToHex(k),
          "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  EXPECT_EQ(ToHex(k),
            "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

// RFC 7748, section 6.1.
TEST(X25519Test, BothSidesOfThePublishedExchangeAgree) {
  const X25519Key alice = KeyOf(
      Hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const X25519Key bob = KeyOf(
      Hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  EXPECT_EQ(ToHex(alice.public_key()),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(ToHex(bob.public_key()),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  EXPECT_EQ(ToHex(alice.Agree(bob.public_key())->bytes()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(ToHex(bob.Agree(alice.public_key())->bytes()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

TEST(X25519Test, KeysComeFromTheInjectedSourceAndRepeat) {
  const std::array<uint8_t, 32> seed{5};
  auto first = SeededRandom::Make(seed).value();
  auto second = SeededRandom::Make(seed).value();
  const X25519Key one = X25519Key::Generate(first).value();
  const X25519Key again = X25519Key::Generate(second).value();
  EXPECT_EQ(one.public_key(), again.public_key());
  EXPECT_TRUE(one.secret().Equals(again.secret().bytes()));
  EXPECT_NE(X25519Key::Generate(first)->public_key(), one.public_key());
  auto stream = SeededRandom::Make(seed).value();
  EXPECT_TRUE(RandomSecret(stream, 32)->Equals(one.secret().bytes()));
}

TEST(X25519Test, TheSecretMakesTheSameKeyAgain) {
  SystemRandom random;
  const X25519Key key = X25519Key::Generate(random).value();
  auto again = X25519Key::FromSecret(key.secret().bytes());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->public_key(), key.public_key());
}

// The points 0, 1 and p - 1, of order 4, 1 and 2 (RFC 7748, section 7; more of
// them: A40WycheproofTest).
TEST(X25519Test, PublicKeysThatLeadToZeroAreRefused) {
  SystemRandom random;
  const X25519Key key = X25519Key::Generate(random).value();
  std::string zero(32, '\0'), one = zero;
  one[0] = 1;
  std::string last = Hex("ec" + std::string(60, 'f') + "7f");
  for (const std::string& point : {zero, one, last}) {
    EXPECT_EQ(key.Agree(ByteSpan(point)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << ToHex(point);
  }
}

TEST(X25519Test, KeysOfAnotherSizeAreRefused) {
  SystemRandom random;
  const X25519Key key = X25519Key::Generate(random).value();
  for (const size_t size : {0, 31, 33, 64}) {
    const std::string bytes(size, 'k');
    EXPECT_EQ(X25519Key::FromSecret(ByteSpan(bytes)).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(key.Agree(ByteSpan(bytes)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(X25519Test, ThreadsMayAgreeAtOnce) {
  SystemRandom random;
  const X25519Key key = X25519Key::Generate(random).value();
  const X25519Key peer = X25519Key::Generate(random).value();
  std::vector<SecretBytes> results(4);
  std::vector<std::thread> threads;
  for (SecretBytes& result : results) {
    threads.emplace_back(
        [&] { result = key.Agree(peer.public_key()).value(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const SecretBytes& result : results) {
    EXPECT_TRUE(result.Equals(peer.Agree(key.public_key())->bytes()));
  }
}

}  // namespace
}  // namespace edgetune
