#include "privacy/crypto/aead.h"

#include <gtest/gtest.h>

#include <string>

#include "base/units.h"
#include "tests/privacy_crypto/given.h"

namespace edgetune {
namespace {

using testing::Hex;

// Texts behind an AesGcmContext.
struct Inputs {
  std::string key, nonce, aad;
  AesGcmContext context() const {
    return {ByteSpan(key), ByteSpan(nonce), ByteSpan(aad)};
  }
};

std::string Seal(const Inputs& inputs, std::string_view plaintext) {
  return SealAesGcm(inputs.context(), ByteSpan(plaintext)).value();
}

absl::StatusCode OpenCode(const Inputs& inputs, std::string_view sealed) {
  return OpenAesGcm(inputs.context(), ByteSpan(sealed)).status().code();
}

std::string Flipped(std::string text, size_t bit) {
  text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
  return text;
}

const char* const kText =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const char* const kSealedText =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";

Inputs PublishedInputs(std::string_view aad_hex) {
  const std::string half = Hex("feffe9928665731c6d6a8f9467308308");
  return {half + half, Hex("cafebabefacedbaddecaf888"), Hex(aad_hex)};
}

// McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B,
// test cases 13 to 16.
TEST(AesGcmTest, EqualsThePublishedVectors) {
  const Inputs zeros{std::string(32, '\0'), std::string(12, '\0'), ""};
  EXPECT_EQ(ToHex(Seal(zeros, "")), "530f8afbc74536b9a963b4f1c4cb738b");
  EXPECT_EQ(ToHex(Seal(zeros, std::string(16, '\0'))),
            "cea7403d4d606b6e074ec5d3baf39d18"
            "d0d1c8a799996bf0265b98b5d48ab919");
  EXPECT_EQ(ToHex(Seal(PublishedInputs(""), Hex(kText))),
            std::string(kSealedText) + "b094dac5d93471bdec1a502270e3cc6c");
  EXPECT_EQ(ToHex(Seal(PublishedInputs("feedfacedeadbeeffeedfacedeadbeef"
                                       "abaddad2"),
                       Hex(kText).substr(0, 60))),
            std::string(kSealedText).substr(0, 120) +
                "76fc6ece0f4e1768cddf8853bb2d551b");
}

TEST(AesGcmTest, WhatWasSealedOpens) {
  const Inputs inputs = PublishedInputs("feed");
  for (const size_t size : {0, 1, 15, 16, 17, 64, 100000}) {
    const std::string plaintext(size, 'p');
    const std::string sealed = Seal(inputs, plaintext);
    EXPECT_EQ(sealed.size(), size + 16);
    auto opened = OpenAesGcm(inputs.context(), ByteSpan(sealed));
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(opened->Equals(ByteSpan(plaintext))) << size;
  }
}

TEST(AesGcmTest, EveryFlippedBitIsNoticed) {
  const Inputs inputs = PublishedInputs("feed");
  const std::string sealed = Seal(inputs, "two shares");
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    EXPECT_EQ(OpenCode(inputs, Flipped(sealed, bit)),
              absl::StatusCode::kPermissionDenied)
        << bit;
  }
  for (std::string Inputs::*field :
       {&Inputs::key, &Inputs::nonce, &Inputs::aad}) {
    for (size_t bit = 0; bit < (inputs.*field).size() * 8; ++bit) {
      Inputs other = inputs;
      other.*field = Flipped(inputs.*field, bit);
      EXPECT_EQ(OpenCode(other, sealed), absl::StatusCode::kPermissionDenied);
    }
  }
}

TEST(AesGcmTest, ACutOrLongerTextIsRefused) {
  const Inputs inputs = PublishedInputs("");
  const std::string sealed = Seal(inputs, "text");
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(OpenCode(inputs, sealed.substr(0, size)),
              size < 16 ? absl::StatusCode::kInvalidArgument
                        : absl::StatusCode::kPermissionDenied);
  }
  EXPECT_EQ(OpenCode(inputs, sealed + '\0'),
            absl::StatusCode::kPermissionDenied);
}

TEST(AesGcmTest, KeysAndNoncesOfOtherSizesAreRefusedBothWays) {
  const Inputs good = PublishedInputs("");
  const std::string sealed = Seal(good, "text");
  for (const auto& [key, nonce] : {std::pair<size_t, size_t>{0, 12},
                                   {16, 12},
                                   {24, 12},
                                   {31, 12},
                                   {33, 12},
                                   {32, 0},
                                   {32, 11},
                                   {32, 13},
                                   {32, 16}}) {
    const Inputs bad{std::string(key, 'k'), std::string(nonce, 'n'), ""};
    EXPECT_EQ(SealAesGcm(bad.context(), ByteSpan("text")).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(OpenCode(bad, sealed), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace edgetune
