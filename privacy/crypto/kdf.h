#ifndef EDGETUNE_PRIVACY_CRYPTO_KDF_H_
#define EDGETUNE_PRIVACY_CRYPTO_KDF_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"

namespace edgetune {

struct HkdfInput {
  std::span<const uint8_t> key;   // input keying material; may not be empty
  std::span<const uint8_t> salt;  // empty: as 32 zero bytes
  std::span<const uint8_t> info;  // binds the result to its use; may be empty
};

// HKDF-SHA256, extract and expand (RFC 5869). InvalidArgument: an empty key, or
// a length of 0 or above 255 * 32 bytes. Thread-safe.
absl::StatusOr<SecretBytes> HkdfSha256(const HkdfInput& input, size_t length);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_KDF_H_
