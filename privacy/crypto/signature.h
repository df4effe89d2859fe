#ifndef EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_H_
#define EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/secure_random.h"

namespace edgetune {

// Ed25519 (RFC 8032) over OpenSSL. Key bytes are wiped when a key goes.

// Raw 32-byte public key. Immutable value, thread-safe.
class PublicKey {
 public:
  // InvalidArgument: not 32 bytes.
  static absl::StatusOr<PublicKey> FromRaw(std::string_view raw);
  // "-----BEGIN PUBLIC KEY-----"; InvalidArgument for another kind of key.
  static absl::StatusOr<PublicKey> FromPem(std::string_view pem);

  const std::string& raw() const { return raw_; }
  // First 16 bytes of SHA-256(raw).
  std::string id() const;
  std::string ToPem() const;
  bool Verify(std::string_view message, std::string_view signature) const;

 private:
  explicit PublicKey(std::string raw) : raw_(std::move(raw)) {}
  std::string raw_;
};

// Move-only; Sign is thread-safe.
class SigningKey {
 public:
  // The 32-byte secret of RFC 8032 is drawn from `random`; the source's error.
  static absl::StatusOr<SigningKey> Generate(RandomSource& random);
  // From SystemRandom.
  static absl::StatusOr<SigningKey> Generate();
  // PKCS #8 PEM, not encrypted. InvalidArgument.
  static absl::StatusOr<SigningKey> FromPem(std::string_view pem);
  ~SigningKey();
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;

  const PublicKey& public_key() const;
  absl::StatusOr<std::string> Sign(std::string_view message) const;
  // For the key file alone; the caller wipes it (WipeString).
  absl::StatusOr<std::string> ToPem() const;

 private:
  struct State;
  explicit SigningKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_H_
