#ifndef EDGETUNE_PRIVACY_CRYPTO_HASH_H_
#define EDGETUNE_PRIVACY_CRYPTO_HASH_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace edgetune {

// A SHA-256 value (FIPS 180-4).
using Digest = std::array<uint8_t, 32>;

Digest Sha256(std::span<const uint8_t> bytes);
Digest Sha256(std::string_view bytes);

// As the 32-byte string that messages and rows carry.
std::string Sha256Bytes(std::string_view bytes);

// Incremental SHA-256. Life: Update..., Finish once. One thread.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;

  void Update(std::span<const uint8_t> bytes);
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// CRC-32C (Castagnoli, reflected 0x82F63B78; RFC 3720 B.4) of chunks on the
// wire: catches line errors, authenticates nothing.
uint32_t Crc32c(std::string_view bytes);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_HASH_H_
