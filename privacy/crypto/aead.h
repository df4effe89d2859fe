#ifndef EDGETUNE_PRIVACY_CRYPTO_AEAD_H_
#define EDGETUNE_PRIVACY_CRYPTO_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"

namespace edgetune {

// AES-256-GCM (NIST SP 800-38D). Functions are thread-safe.

inline constexpr size_t kAesGcmKeyBytes = 32;
inline constexpr size_t kAesGcmNonceBytes = 12;
inline constexpr size_t kAesGcmTagBytes = 16;

// What both sides must agree on. A pair of key and nonce seals one message
// only: a second one gives both away.
struct AesGcmContext {
  std::span<const uint8_t> key;    // 32 bytes
  std::span<const uint8_t> nonce;  // 12 bytes
  std::span<const uint8_t> aad;    // authenticated, not sealed; any size
};

// Ciphertext and, behind it, the tag. InvalidArgument: size of key or nonce, or
// 2 GiB and more of text.
absl::StatusOr<std::string> SealAesGcm(const AesGcmContext& context,
                                       std::span<const uint8_t> plaintext);
// The reverse. PermissionDenied: any bit of context or `sealed` differs;
// nothing of the text is shown then. InvalidArgument: sizes, and `sealed`
// shorter than a tag.
absl::StatusOr<SecretBytes> OpenAesGcm(const AesGcmContext& context,
                                       std::span<const uint8_t> sealed);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_AEAD_H_
