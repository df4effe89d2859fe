#include "privacy/crypto/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "privacy/crypto/signature_memo.h"
#include "tests/privacy_crypto/given.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using testing::Hex;

// PKCS #8 of RFC 8410, section 7: a fixed prefix and the 32-byte secret.
std::string PemOfSecret(std::string_view secret_hex) {
  const std::string der =
      Hex("302e020100300506032b657004220420") + Hex(secret_hex);
  return "-----BEGIN PRIVATE KEY-----\n" + absl::Base64Escape(der) +
         "\n-----END PRIVATE KEY-----\n";
}

struct SignatureVector {
  const char* secret;
  const char* public_key;
  const char* message;
  const char* signature;
};
// RFC 8032, section 7.1, tests 1 to 3.
constexpr SignatureVector kVectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb882159"
     "0a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43"
     "e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538"
     "d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

TEST(Ed25519Test, EqualsThePublishedVectors) {
  for (const SignatureVector& v : kVectors) {
    auto key = SigningKey::FromPem(PemOfSecret(v.secret));
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(ToHex(key->public_key().raw()), v.public_key);
    auto signature = key->Sign(Hex(v.message));
    ASSERT_TRUE(signature.ok());
    EXPECT_EQ(ToHex(*signature), v.signature);
    EXPECT_TRUE(key->public_key().Verify(Hex(v.message), *signature));
  }
}

TEST(Ed25519Test, EveryFlippedBitIsNoticed) {
  auto key = PublicKey::FromRaw(Hex(kVectors[2].public_key));
  ASSERT_TRUE(key.ok());
  const std::string message = Hex(kVectors[2].message);
  const std::string signature = Hex(kVectors[2].signature);
  for (size_t bit = 0; bit < signature.size() * 8; ++bit) {
    std::string bad = signature;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(key->Verify(message, bad)) << bit;
  }
  EXPECT_FALSE(key->Verify(message + "x", signature));
  EXPECT_FALSE(key->Verify("", signature));
}

// Each bit of key, message and signature counts also once the right ones are
// known.
TEST(SignatureMemoTest, RemembersNothingButWhatIsValid) {
  const SignatureMemo memo;
  const auto key = PublicKey::FromRaw(Hex(kVectors[2].public_key));
  const auto other = PublicKey::FromRaw(Hex(kVectors[1].public_key));
  const std::string message = Hex(kVectors[2].message);
  const std::string signature = Hex(kVectors[2].signature);
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(key->Verify(message, signature));
    EXPECT_FALSE(other->Verify(message, signature));
    EXPECT_FALSE(key->Verify(message + "x", signature));
    EXPECT_FALSE(key->Verify(message, message + signature));
    std::string bad = signature;
    bad.back() = static_cast<char>(bad.back() ^ 1);
    EXPECT_FALSE(key->Verify(message, bad));
  }
}

TEST(SignatureMemoTest, LivesAsLongAsTheLastOfThem) {
  const Digest triple = Sha256("a signature");
  SignatureMemo::Remember(triple);
  EXPECT_FALSE(SignatureMemo::Knows(triple)) << "nobody wants it";
  {
    const SignatureMemo outer;
    {
      const SignatureMemo inner;
      SignatureMemo::Remember(triple);
    }
    EXPECT_TRUE(SignatureMemo::Lives());
    EXPECT_TRUE(SignatureMemo::Knows(triple));
    EXPECT_FALSE(SignatureMemo::Knows(Sha256("another")));
  }
  EXPECT_FALSE(SignatureMemo::Lives());
  const SignatureMemo later;
  EXPECT_FALSE(SignatureMemo::Knows(triple));
}

TEST(SignatureMemoTest, ThreadsShareIt) {
  const SignatureMemo memo;
  const auto key = PublicKey::FromRaw(Hex(kVectors[0].public_key));
  const std::string signature = Hex(kVectors[0].signature);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const SignatureMemo mine;
      for (int k = 0; k < 50; ++k) {
        EXPECT_TRUE(key->Verify("", signature));
        EXPECT_FALSE(key->Verify("x", signature));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Ed25519Test, ASignatureOfAnotherLengthIsRefused) {
  auto key = PublicKey::FromRaw(Hex(kVectors[0].public_key));
  ASSERT_TRUE(key.ok());
  const std::string signature = Hex(kVectors[0].signature);
  EXPECT_FALSE(key->Verify("", ""));
  EXPECT_FALSE(key->Verify("", signature.substr(0, 63)));
  EXPECT_FALSE(key->Verify("", signature + '\0'));
}

// Test 1 with the group order added to S (RFC 8032, section 5.1.7 forbids it);
// computed with Python integers.
TEST(Ed25519Test, ASecondFormOfASignatureIsRefused) {
  auto key = PublicKey::FromRaw(Hex(kVectors[0].public_key));
  ASSERT_TRUE(key.ok());
  EXPECT_FALSE(
      key->Verify("", Hex("e5564300c360ac729086e2cc806e828a84877f1e"
                          "b8e5d974d873e065224901554c8c7872aa064e049dbb"
                          "3013fbf29380d25bf5f0595bbe24655141438e7a101b")));
}

TEST(Ed25519Test, KeysSurviveTheirPemForm) {
  auto key = SigningKey::Generate();
  ASSERT_TRUE(key.ok());
  auto pem = key->ToPem();
  ASSERT_TRUE(pem.ok());
  auto again = SigningKey::FromPem(*pem);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->public_key().raw(), key->public_key().raw());
  auto public_again = PublicKey::FromPem(key->public_key().ToPem());
  ASSERT_TRUE(public_again.ok()) << public_again.status();
  EXPECT_EQ(public_again->raw(), key->public_key().raw());
}

TEST(Ed25519Test, AKeyIdIsTheBeginningOfTheHash) {
  auto key = PublicKey::FromRaw(Hex(kVectors[0].public_key));
  ASSERT_TRUE(key.ok());
  // Python: hashlib.sha256(raw).digest()[:16]
  EXPECT_EQ(ToHex(key->id()), "21fe31dfa154a261626bf854046fd227");
}

TEST(Ed25519Test, OtherKindsOfKeysAndNonsenseAreRefusedByName) {
  // `openssl genpkey -algorithm X25519`
  const std::string x25519 =
      "-----BEGIN PRIVATE KEY-----\n" +
      absl::Base64Escape(Hex("302e020100300506032b656e04220420") +
                         std::string(32, 'k')) +
      "\n-----END PRIVATE KEY-----\n";
  auto other = SigningKey::FromPem(x25519);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("got X25519, wanted ED25519"));
  EXPECT_FALSE(SigningKey::FromPem("").ok());
  EXPECT_FALSE(SigningKey::FromPem("-----BEGIN PRIVATE KEY-----\nAA==").ok());
  EXPECT_FALSE(PublicKey::FromPem(PemOfSecret(kVectors[0].secret)).ok());
  EXPECT_EQ(PublicKey::FromRaw("short").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Ed25519Test, AnEncryptedKeyIsRefusedWithoutAsking) {
  // `openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret`
  constexpr char kEncrypted[] = R"(-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj5denejooe/AICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEMaAMFlreI2cT3rRkI/iTgcEQDa+
lWL4i9OvNpppasNTexAodgzmWyFcWlszWk+FPNKgviY5to0cUCIZbkS7/aCCo4AC
zbbscXdM/fvfp+1MGA0=
-----END ENCRYPTED PRIVATE KEY-----
)";
  EXPECT_EQ(SigningKey::FromPem(kEncrypted).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Ed25519Test, ThreadsMaySignAtOnce) {
  auto key = SigningKey::Generate();
  ASSERT_TRUE(key.ok());
  std::vector<std::string> signatures(4);
  std::vector<std::thread> threads;
  for (std::string& signature : signatures) {
    threads.emplace_back([&] { signature = key->Sign("message").value(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& signature : signatures) {
    EXPECT_TRUE(key->public_key().Verify("message", signature));
  }
}

// RFC 8032, section 7.1, test 1: the secret is what the source gives.
TEST(Ed25519Test, KeysComeFromTheInjectedSource) {
  class Published final : public RandomSource {
    absl::Status Fill(std::span<uint8_t> out) override {
      const std::string secret = Hex(kVectors[0].secret);
      EXPECT_EQ(out.size(), secret.size());
      std::copy_n(secret.begin(), out.size(), out.begin());
      return absl::OkStatus();
    }
  } random;
  auto key = SigningKey::Generate(random);
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(ToHex(key->public_key().raw()), kVectors[0].public_key);
}

}  // namespace
}  // namespace edgetune
