#include "privacy/crypto/hash.h"

#include <openssl/evp.h>

#include <cstddef>
#include <cstring>

#include "base/status.h"
#include "privacy/crypto/openssl_util.h"
#include "privacy/crypto/secret.h"

namespace edgetune {
namespace {

using MdContextPtr = OpensslPtr<EVP_MD_CTX, EVP_MD_CTX_free>;
using CrcTables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: the CRC of byte b followed by k zero bytes, so that eight
// bytes are folded at once ("slicing by 8": Kounavis, Berry, ISCC 2005).
constexpr CrcTables MakeCrcTables() {
  CrcTables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    }
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}
constexpr CrcTables kCrc = MakeCrcTables();

uint32_t LoadLittleEndian(const uint8_t* p) {
  return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 |
         static_cast<uint32_t>(p[2]) << 16 | static_cast<uint32_t>(p[3]) << 24;
}

}  // namespace

struct Sha256Stream::State {
  MdContextPtr context{EVP_MD_CTX_new()};
};

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) {
  EDGETUNE_CHECK(state_->context != nullptr);
  EDGETUNE_CHECK(
      EVP_DigestInit_ex2(state_->context.get(), EVP_sha256(), nullptr) == 1);
}

Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::Update(std::span<const uint8_t> bytes) {
  EDGETUNE_CHECK(state_ != nullptr);
  EDGETUNE_CHECK(
      EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Digest Sha256Stream::Finish() {
  EDGETUNE_CHECK(state_ != nullptr);
  Digest digest;
  unsigned size = 0;
  EDGETUNE_CHECK(
      EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size) == 1 &&
      size == digest.size());
  state_.reset();
  return digest;
}

Digest Sha256(std::span<const uint8_t> bytes) {
  Sha256Stream stream;
  stream.Update(bytes);
  return stream.Finish();
}

Digest Sha256(std::string_view bytes) { return Sha256(ByteSpan(bytes)); }

std::string Sha256Bytes(std::string_view bytes) {
  const Digest digest = Sha256(bytes);
  return std::string(reinterpret_cast<const char*>(digest.data()),
                     digest.size());
}

uint32_t Crc32c(std::string_view bytes) {
  std::span<const uint8_t> rest = ByteSpan(bytes);
  uint32_t crc = ~0u;
  for (; rest.size() >= 8; rest = rest.subspan(8)) {
    const uint32_t low = crc ^ LoadLittleEndian(rest.data());
    const uint8_t* high = rest.data() + 4;
    crc = kCrc[7][low & 0xFF] ^ kCrc[6][(low >> 8) & 0xFF] ^
          kCrc[5][(low >> 16) & 0xFF] ^ kCrc[4][low >> 24] ^ kCrc[3][high[0]] ^
          kCrc[2][high[1]] ^ kCrc[1][high[2]] ^ kCrc[0][high[3]];
  }
  for (const uint8_t byte : rest) {
    crc = (crc >> 8) ^ kCrc[0][(crc ^ byte) & 0xFF];
  }
  return ~crc;
}

}  // namespace edgetune
