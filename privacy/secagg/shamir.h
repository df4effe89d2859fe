#ifndef EDGETUNE_PRIVACY_SECAGG_SHAMIR_H_
#define EDGETUNE_PRIVACY_SECAGG_SHAMIR_H_

// Shamir sharing of 32-byte secrets over GF(2^16) with polynomial 0x1100B
// (primitive): a secret is 16 big-endian 2-byte chunks, a share 32 bytes.
// Member i holds x = i + 1; degree t - 1. Multiplication has no branch and no
// table indexed by a secret. Pure functions, thread-safe.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"

namespace edgetune::secagg {

inline constexpr size_t kSecretSize = 32;

// Shares for x = 1..n. InvalidArgument: secret not 32 bytes, t not in [1, n],
// n above 65,535. Internal: no randomness.
absl::StatusOr<std::vector<SecretBytes>> ShareSecret(
    const SecretBytes& secret, uint32_t threshold, uint32_t n,
    RandomSource& random);

struct HeldShare {
  uint32_t index;  // of the holder, from 0
  std::span<const uint8_t> share;
};

// Interpolates at 0 through the first `threshold` shares, for several secrets
// that the same holders hold parts of: weights depend on holders only.
class Interpolator {
 public:
  // `holders`: distinct indices, exactly the threshold of them.
  static absl::StatusOr<Interpolator> Make(std::vector<uint32_t> holders);
  // One 32-byte share a holder, in order of `holders`.
  absl::StatusOr<SecretBytes> Combine(
      std::span<const std::span<const uint8_t>> shares) const;

 private:
  std::vector<uint16_t> weights_;
};

struct Corrected {
  SecretBytes secret;
  std::vector<uint32_t> bad;  // indices of holders whose share was wrong
};
// Berlekamp-Welch: of m shares up to floor((m - t)/2) may be wrong.
// DataLoss: more are.
absl::StatusOr<Corrected> CorrectShares(std::span<const HeldShare> shares,
                                        uint32_t threshold);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_SHAMIR_H_
