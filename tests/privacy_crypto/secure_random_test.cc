#include "privacy/crypto/secure_random.h"

#include <gtest/gtest.h>
#include <openssl/rand.h>

#include <array>
#include <string>
#include <vector>

#include "base/units.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"
#include "tests/privacy_crypto/failing_random.h"

namespace edgetune {
namespace {

// While it lives, OpenSSL's generator gives nothing. The call is deprecated,
// and the only way to make RAND fail.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
class BrokenOpenssl {
 public:
  BrokenOpenssl() { RAND_set_rand_method(&broken_); }
  ~BrokenOpenssl() { RAND_set_rand_method(nullptr); }

 private:
  static int Refuse(unsigned char*, int) { return 0; }
  const RAND_METHOD broken_{nullptr, Refuse, nullptr, nullptr, Refuse, nullptr};
};
#pragma GCC diagnostic pop

SeededRandom Zeros() {
  return SeededRandom::Make(std::array<uint8_t, 32>{}).value();
}

TEST(SystemRandomTest, GivesAsManyBytesAsAskedAndOthersEachTime) {
  SystemRandom random;
  auto first = RandomSecret(random, 1000);
  auto second = RandomSecret(random, 1000);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->size(), 1000u);
  EXPECT_FALSE(first->Equals(second->bytes()));
  EXPECT_EQ(RandomSecret(random, 0)->size(), 0u);
  EXPECT_NE(*SecureRandom(16), *SecureRandom(16));
  EXPECT_TRUE(SecureRandom(0)->empty());
}

TEST(SystemRandomTest, AFailingGeneratorIsAnErrorEverywhere) {
  // OpenSSL sets itself up with its own generator, else it forgets to clean up.
  ASSERT_TRUE(SecureRandom(1).ok());
  const BrokenOpenssl broken;
  SystemRandom random;
  EXPECT_EQ(RandomSecret(random, 32).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(SecureRandom(32).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(SigningKey::Generate().status().code(),
            absl::StatusCode::kInternal);
}

TEST(RandomSourceTest, TheErrorOfASourceReachesWhoeverAsksForAKey) {
  FailingRandom random;
  const absl::Status wanted = absl::InternalError("no random bytes today");
  EXPECT_EQ(RandomSecret(random, 1).status(), wanted);
  EXPECT_EQ(X25519Key::Generate(random).status(), wanted);
  EXPECT_EQ(SigningKey::Generate(random).status(), wanted);
}

// Three blocks under the zero key: McGrew and Viega, "The Galois/Counter Mode
// of Operation", test cases 13 (H; the tag is the second block) and 14 (C).
TEST(SeededRandomTest, IsThePublishedKeyStream) {
  SeededRandom random = Zeros();
  auto bytes = RandomSecret(random, 48);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(ToHex(bytes->bytes()),
            "dc95c078a2408989ad48a21492842087"
            "530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e074ec5d3baf39d18");
}

TEST(SeededRandomTest, TheCutIntoCallsMakesNoDifference) {
  SeededRandom at_once = Zeros();
  SeededRandom in_pieces = Zeros();
  const std::string whole = ToHex(RandomSecret(at_once, 20001)->bytes());
  std::string pieces;
  for (const size_t n : {1, 15, 17, 0, 31, 9000, 3, 10934}) {
    pieces += ToHex(RandomSecret(in_pieces, n)->bytes());
  }
  EXPECT_EQ(pieces, whole);
}

TEST(SeededRandomTest, AnotherSeedIsAnotherStream) {
  std::array<uint8_t, 32> seed{};
  seed[31] = 1;
  SeededRandom one = Zeros();
  SeededRandom other = SeededRandom::Make(seed).value();
  EXPECT_FALSE(RandomSecret(one, 32)->Equals(RandomSecret(other, 32)->bytes()));
}

TEST(SeededRandomTest, ASeedOfAnotherSizeIsRefused) {
  for (const size_t size : {0, 16, 31, 33}) {
    EXPECT_EQ(SeededRandom::Make(std::vector<uint8_t>(size)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << size;
  }
}

}  // namespace
}  // namespace edgetune
