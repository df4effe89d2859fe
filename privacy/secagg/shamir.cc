#include "privacy/secagg/shamir.h"

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/gf65536.h"

namespace edgetune::secagg {
namespace {

constexpr uint32_t kMostHolders = 65535;
static_assert(kSecretSize == 2 * kGfBlock);

// a_0 = the secret, a_1..a_(t-1) random: 16 polynomials side by side.
absl::StatusOr<GfVector> DrawPolynomials(const SecretBytes& secret,
                                         uint32_t threshold,
                                         RandomSource& random) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const SecretBytes drawn,
      RandomSecret(random, (threshold - 1) * kSecretSize));
  GfVector blocks(threshold * kGfBlock);
  GfLoad(secret.bytes(), GfBlockAt(blocks, 0));
  for (uint32_t k = 1; k < threshold; ++k) {
    GfLoad(drawn.bytes().subspan((k - 1) * kSecretSize, kSecretSize),
           GfBlockAt(blocks, k));
  }
  return blocks;
}

}  // namespace

absl::StatusOr<std::vector<SecretBytes>> ShareSecret(const SecretBytes& secret,
                                                     uint32_t threshold,
                                                     uint32_t n,
                                                     RandomSource& random) {
  if (secret.size() != kSecretSize) {
    return absl::InvalidArgumentError("a secret to share has 32 bytes");
  }
  if (threshold < 1 || threshold > n || n > kMostHolders) {
    return absl::InvalidArgumentError("no such threshold for so many holders");
  }
  EDGETUNE_ASSIGN_OR_RETURN(GfVector polynomials,
                            DrawPolynomials(secret, threshold, random));
  GfVector value(kGfBlock);
  std::vector<SecretBytes> shares;
  shares.reserve(n);
  for (uint32_t x = 1; x <= n; ++x) {
    std::fill(value.begin(), value.end(), 0);
    for (uint32_t k = threshold; k-- > 0;) {
      GfScaleAdd(static_cast<uint16_t>(x), GfBlockAt(polynomials, k),
                 GfBlockAt(value, 0));
    }
    GfStore(GfBlockAt(value, 0), shares.emplace_back(kSecretSize).bytes());
  }
  return shares;
}

absl::StatusOr<Interpolator> Interpolator::Make(std::vector<uint32_t> holders) {
  std::vector<uint32_t> sorted = holders;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty() || sorted.back() >= kMostHolders ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return absl::InvalidArgumentError(
        "holders of shares must be distinct indices below 65,535");
  }
  Interpolator interpolator;
  for (const uint32_t i : holders) {
    // Product of x_j / (x_j - x_i) over the others.
    uint16_t above = 1;
    uint16_t below = 1;
    for (const uint32_t j : holders) {
      if (j == i) continue;
      above = GfMultiply(above, static_cast<uint16_t>(j + 1));
      below = GfMultiply(below, static_cast<uint16_t>((j + 1) ^ (i + 1)));
    }
    interpolator.weights_.push_back(GfMultiply(above, GfInverse(below)));
  }
  return interpolator;
}

absl::StatusOr<SecretBytes> Interpolator::Combine(
    std::span<const std::span<const uint8_t>> shares) const {
  if (shares.size() != weights_.size()) {
    return absl::InvalidArgumentError("not one share a holder");
  }
  GfVector blocks(2 * kGfBlock);
  const GfBlock share = GfBlockAt(blocks, 0);
  const GfBlock sum = GfBlockAt(blocks, 1);
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].size() != kSecretSize) {
      return absl::InvalidArgumentError("a share has 32 bytes");
    }
    GfLoad(shares[i], share);
    GfMultiplyAdd(weights_[i], share, sum);
  }
  SecretBytes secret(kSecretSize);
  GfStore(sum, secret.bytes());
  return secret;
}

}  // namespace edgetune::secagg
