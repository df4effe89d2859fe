#include "privacy/crypto/kdf.h"

#include <gtest/gtest.h>

#include <string>

#include "base/units.h"

namespace edgetune {
namespace {

// The bytes first, first + 1, ... , last.
std::string Range(int first, int last) {
  std::string bytes;
  for (int byte = first; byte <= last; ++byte) {
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

std::string Derive(const std::string& key, const std::string& salt,
                   const std::string& info, size_t length) {
  auto derived =
      HkdfSha256({ByteSpan(key), ByteSpan(salt), ByteSpan(info)}, length);
  return derived.ok() ? ToHex(derived->bytes()) : derived.status().ToString();
}

// RFC 5869, appendix A.1 to A.3.
TEST(HkdfTest, EqualsThePublishedVectors) {
  EXPECT_EQ(
      Derive(std::string(22, '\x0b'), Range(0x00, 0x0c), Range(0xf0, 0xf9), 42),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
      "34007208d5b887185865");
  EXPECT_EQ(Derive(Range(0x00, 0x4f), Range(0x60, 0xaf), Range(0xb0, 0xff), 82),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(Derive(std::string(22, '\x0b'), "", "", 42),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
            "9d201395faa4b61a96c8");
}

TEST(HkdfTest, EveryInputMatters) {
  const std::string derived = Derive("key", "salt", "info", 32);
  EXPECT_EQ(Derive("key", "salt", "info", 32), derived);
  EXPECT_NE(Derive("Key", "salt", "info", 32), derived);
  EXPECT_NE(Derive("key", "Salt", "info", 32), derived);
  EXPECT_NE(Derive("key", "salt", "Info", 32), derived);
  EXPECT_NE(Derive("key", "saltinfo", "", 32), derived);
  EXPECT_EQ(Derive("key", "salt", "info", 16), derived.substr(0, 32));
}

TEST(HkdfTest, ImpossibleLengthsAndAnEmptyKeyAreRefused) {
  const HkdfInput input{ByteSpan("key"), {}, {}};
  EXPECT_EQ(HkdfSha256(input, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HkdfSha256(input, 255 * 32 + 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HkdfSha256(input, 255 * 32)->size(), 255u * 32);
  EXPECT_EQ(HkdfSha256({}, 32).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace edgetune
