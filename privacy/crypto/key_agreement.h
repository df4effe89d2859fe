#ifndef EDGETUNE_PRIVACY_CRYPTO_KEY_AGREEMENT_H_
#define EDGETUNE_PRIVACY_CRYPTO_KEY_AGREEMENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"

namespace edgetune {

inline constexpr size_t kX25519Bytes = 32;  // secrets, public keys, results

// A key pair for X25519 (RFC 7748). Immutable, move-only; Agree may be called
// from several threads. Its secret is wiped when it goes.
class X25519Key {
 public:
  // The secret is the next 32 bytes of `random`. The source's error.
  static absl::StatusOr<X25519Key> Generate(RandomSource& random);
  // InvalidArgument: not 32 bytes. Any 32 bytes are a secret.
  static absl::StatusOr<X25519Key> FromSecret(std::span<const uint8_t> secret);
  ~X25519Key();
  X25519Key(X25519Key&&) noexcept;
  X25519Key& operator=(X25519Key&&) noexcept;

  const std::array<uint8_t, kX25519Bytes>& public_key() const;
  // As it was drawn: the bits that X25519 fixes are not yet.
  const SecretBytes& secret() const;
  // The shared 32 bytes; they are no key yet, derive one (kdf.h).
  // InvalidArgument: `peer_public` is not 32 bytes, or is one of the few points
  // that lead every secret to the all-zero result (RFC 7748, section 6.1).
  absl::StatusOr<SecretBytes> Agree(std::span<const uint8_t> peer_public) const;

 private:
  struct State;
  explicit X25519Key(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_KEY_AGREEMENT_H_
