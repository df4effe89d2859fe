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

// Shares for x = 1..n. The coefficients of z^1..z^(t-1) are the next 32 bytes
// each of `random`, in chunks as the secret is. InvalidArgument: secret not 32
// bytes, t not in [1, n], n above 65,535. Internal: no randomness.
absl::StatusOr<std::vector<SecretBytes>> ShareSecret(const SecretBytes& secret,
                                                     uint32_t threshold,
                                                     uint32_t n,
                                                     RandomSource& random);

struct HeldShare {
  uint32_t index;  // of the holder, from 0
  std::span<const uint8_t> share;
};

// Interpolates at 0 through the first `threshold` shares, for several secrets
// that the same holders hold parts of: weights depend on holders only.
class Interpolator {
 public:
  // `holders`: exactly the threshold of them. InvalidArgument: none, one twice,
  // an index above 65,534.
  static absl::StatusOr<Interpolator> Make(std::vector<uint32_t> holders);
  // One share a holder, in order of `holders`. InvalidArgument: another number
  // of them, a share that is not 32 bytes. A wrong share gives a wrong secret:
  // compare with a commitment, then CorrectShares.
  absl::StatusOr<SecretBytes> Combine(
      std::span<const std::span<const uint8_t>> shares) const;

 private:
  std::vector<uint16_t> weights_;
};

struct Corrected {
  SecretBytes secret;
  std::vector<uint32_t> bad;  // holders whose share was wrong, ascending
};
// Berlekamp-Welch decoding: of m shares up to floor((m - t)/2) may be wrong.
// DataLoss: more are. More than ceil((m - t)/2) holders who choose their shares
// together can lead to another secret, so compare with a commitment.
// InvalidArgument: fewer than t shares, a holder twice, another size. For the
// coordinator, which is meant to learn the secret: time depends on how many
// shares are wrong.
absl::StatusOr<Corrected> CorrectShares(std::span<const HeldShare> shares,
                                        uint32_t threshold);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_SHAMIR_H_
