#ifndef EDGETUNE_PRIVACY_CRYPTO_SECURE_RANDOM_H_
#define EDGETUNE_PRIVACY_CRYPTO_SECURE_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"

namespace edgetune {

// Where secret bytes come from; injected, so that tests repeat and may fail.
// An implementation states whether threads may share it; who takes a
// RandomSource& must not assume so.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  // Fills all of `out` or fails: Internal, and `out` must not be used.
  virtual absl::Status Fill(std::span<uint8_t> out) = 0;
};

// OpenSSL's generator for private values, seeded by the operating system
// (RAND_priv_bytes). Stateless; threads may share it.
class SystemRandom final : public RandomSource {
 public:
  absl::Status Fill(std::span<uint8_t> out) override;
};

// The AES-256-CTR key stream of a 32-byte seed, from its first byte on: as
// unpredictable as the seed, and the same for the same seed, however it is cut
// into calls. With a known seed for tests and simulations; with a seed from
// SystemRandom a fast generator, e.g. for stochastic rounding (draw blocks, a
// call has a fixed cost). Move-only; one thread at a time. Wiped when it goes.
class SeededRandom final : public RandomSource {
 public:
  // InvalidArgument: not 32 bytes.
  static absl::StatusOr<SeededRandom> Make(std::span<const uint8_t> seed);
  ~SeededRandom() override;
  SeededRandom(SeededRandom&&) noexcept;
  SeededRandom& operator=(SeededRandom&&) noexcept;

  absl::Status Fill(std::span<uint8_t> out) override;

 private:
  struct State;
  explicit SeededRandom(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// n secret bytes; the error of the source, if it fails.
absl::StatusOr<SecretBytes> RandomSecret(RandomSource& random, size_t n);
// n bytes from SystemRandom that are no secret: nonces, tags, serial numbers.
absl::StatusOr<std::string> SecureRandom(size_t n);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_SECURE_RANDOM_H_
