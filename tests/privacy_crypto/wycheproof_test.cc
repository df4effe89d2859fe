// A40: Project Wycheproof's vectors through our own wrappers. Each line of
// vectors/*.json is one; vectors/make_wycheproof.py says where they are from.
// "acceptable" leaves the answer to the library; what ours is stands here.

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/units.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/kdf.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"

namespace edgetune {
namespace {

// One vector: its fields by name; hexadecimal ones as bytes.
class Vector {
 public:
  Vector(const nlohmann::json& names, const nlohmann::json& row) {
    for (size_t i = 0; i < names.size(); ++i) fields_[names[i]] = row[i];
  }
  const nlohmann::json& operator[](const std::string& name) const {
    return fields_.at(name);
  }
  std::string Bytes(const std::string& name) const {
    return FromHex(fields_.at(name).get<std::string>()).value();
  }
  std::string result() const { return fields_.at("result"); }

 private:
  std::map<std::string, nlohmann::json> fields_;
};

// How often each outcome was counted, by a name of its own.
using Counts = std::map<std::string, int>;

// Counts what `outcome` says of each vector of a file.
Counts CountOutcomes(const std::string& file,
                     const std::function<std::string(const Vector&)>& outcome) {
  std::ifstream stream(EDGETUNE_SOURCE_DIR
                       "/tests/privacy_crypto/vectors/wycheproof_" +
                       file + "_test.json");
  const auto data = nlohmann::json::parse(stream);
  Counts counts;
  for (const auto& row : data.at("tests")) {
    const Vector vector(data.at("fields"), row);
    SCOPED_TRACE(file + " " + vector["tcId"].dump());
    ++counts[vector.result() + ", " + outcome(vector)];
  }
  return counts;
}

std::string OutcomeName(const absl::Status& status) {
  return status.ok() ? "given" : absl::StatusCodeToString(status.code());
}

// The 29 "acceptable" ones have public keys with a part of small order, over
// which verifiers differ (RFC 8032, section 8.8); whoever made such a key only
// gives others what it could sign itself, so OpenSSL's answer is as good.
TEST(A40WycheproofTest, Ed25519Answers210VectorsAsExpected) {
  Counts counts = CountOutcomes("ed25519", [](const Vector& v) {
    const auto key = PublicKey::FromRaw(v.Bytes("pk"));
    EXPECT_TRUE(key.ok());
    const bool verified = key->Verify(v.Bytes("msg"), v.Bytes("sig"));
    if (v.result() == "acceptable") return "either";
    return verified ? "verified" : "refused";
  });
  EXPECT_EQ(counts, (Counts{{"valid, verified", 117},
                            {"invalid, refused", 64},
                            {"acceptable, either", 29}}));
}

// "acceptable" are keys on the twist or not reduced, which RFC 7748 wants
// computed, and the 31 that lead to zero, which we refuse.
TEST(A40WycheproofTest, X25519Answers518VectorsAsExpected) {
  const std::string zero(kX25519Bytes, '\0');
  Counts counts = CountOutcomes("x25519", [&](const Vector& v) {
    const auto key = X25519Key::FromSecret(ByteSpan(v.Bytes("private")));
    EXPECT_TRUE(key.ok());
    const auto shared = key->Agree(ByteSpan(v.Bytes("public")));
    EXPECT_EQ(shared.ok(), v.Bytes("shared") != zero);
    if (shared.ok()) {
      EXPECT_TRUE(shared->Equals(ByteSpan(v.Bytes("shared"))));
    }
    return OutcomeName(shared.status());
  });
  EXPECT_EQ(counts, (Counts{{"valid, given", 264},
                            {"acceptable, given", 223},
                            {"acceptable, INVALID_ARGUMENT", 31}}));
}

TEST(A40WycheproofTest, HkdfSha256Answers86VectorsAsExpected) {
  Counts counts = CountOutcomes("hkdf_sha256", [](const Vector& v) {
    const std::string key = v.Bytes("ikm"), salt = v.Bytes("salt"),
                      info = v.Bytes("info");
    const auto derived =
        HkdfSha256({ByteSpan(key), ByteSpan(salt), ByteSpan(info)}, v["size"]);
    if (derived.ok()) {
      EXPECT_TRUE(derived->Equals(ByteSpan(v.Bytes("okm"))));
    }
    return OutcomeName(derived.status());
  });
  EXPECT_EQ(counts,
            (Counts{{"valid, given", 83}, {"invalid, INVALID_ARGUMENT", 3}}));
}

// Seals and opens one vector; both must say the same of sizes.
std::string GcmOutcome(const Vector& v) {
  const std::string key = v.Bytes("key"), nonce = v.Bytes("iv"),
                    aad = v.Bytes("aad"), message = v.Bytes("msg"),
                    wanted = v.Bytes("ct") + v.Bytes("tag");
  const AesGcmContext context{ByteSpan(key), ByteSpan(nonce), ByteSpan(aad)};
  const auto sealed = SealAesGcm(context, ByteSpan(message));
  const auto opened = OpenAesGcm(context, ByteSpan(wanted));
  const bool offered =
      key.size() == kAesGcmKeyBytes && nonce.size() == kAesGcmNonceBytes;
  EXPECT_EQ(sealed.ok(), offered);
  if (!offered) {
    EXPECT_EQ(sealed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
    return "size not offered";
  }
  EXPECT_EQ(*sealed == wanted, v.result() == "valid");
  if (opened.ok()) {
    EXPECT_TRUE(opened->Equals(ByteSpan(message)));
  }
  return OutcomeName(opened.status());
}

// Keys of 128 and 192 bits and nonces other than 96 bits are not offered.
TEST(A40WycheproofTest, AesGcmAnswers316VectorsAsExpected) {
  const Counts counts = CountOutcomes("aes_gcm", GcmOutcome);
  EXPECT_EQ(counts, (Counts{{"valid, given", 39},
                            {"invalid, PERMISSION_DENIED", 27},
                            {"valid, size not offered", 190},
                            {"invalid, size not offered", 60}}));
}

}  // namespace
}  // namespace edgetune
