#include "privacy/crypto/hash.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/units.h"

namespace edgetune {
namespace {

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// NIST, "Examples with Intermediate Values", SHA-256; the empty message and the
// million of 'a' from the CAVP byte-oriented vectors and FIPS 180-2, B.3.
TEST(Sha256Test, EqualsThePublishedVectors) {
  EXPECT_EQ(ToHex(Sha256(std::string_view(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256(std::string_view("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256(std::string_view(
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(ToHex(Sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, AsBytesIsTheSameValue) {
  EXPECT_EQ(ToHex(Sha256Bytes("abc")), ToHex(Sha256(Bytes("abc"))));
}

TEST(Sha256Test, TheStreamDoesNotCareWhereItIsCut) {
  const std::string text(1000, 'x');
  const Digest whole = Sha256(text);
  for (const size_t cut : {0, 1, 63, 64, 65, 999, 1000}) {
    Sha256Stream stream;
    stream.Update(Bytes(text).first(cut));
    stream.Update(Bytes(text).subspan(cut));
    EXPECT_EQ(stream.Finish(), whole) << cut;
  }
}

TEST(Sha256DeathTest, AFinishedStreamTakesNothingMore) {
  Sha256Stream stream;
  stream.Finish();
  EXPECT_DEATH(stream.Update(Bytes("x")), "internal error");
}

// RFC 3720, appendix B.4; "123456789" is the customary check value.
TEST(Crc32cTest, EqualsThePublishedVectors) {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising.push_back(static_cast<char>(i));
    falling.push_back(static_cast<char>(31 - i));
  }
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(Crc32c(falling), 0x113FDB5Cu);
}

TEST(Crc32cTest, EqualsTheBitwiseDefinitionAtEveryLength) {
  std::string text;
  for (int length = 0; length < 40; ++length) {
    uint32_t crc = ~0u;
    for (const char c : text) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
      }
    }
    EXPECT_EQ(Crc32c(text), ~crc) << length;
    text.push_back(static_cast<char>(length * 37 + 5));
  }
}

}  // namespace
}  // namespace edgetune
