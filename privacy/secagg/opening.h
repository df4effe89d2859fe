#ifndef EDGETUNE_PRIVACY_SECAGG_OPENING_H_
#define EDGETUNE_PRIVACY_SECAGG_OPENING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"
#include "privacy/secagg/shamir.h"

namespace edgetune::secagg {

// Secrets of many dealers, put together from what the same holders showed, some
// of whom may lie. Of m holders, up to floor((m - t)/2) wrong shares of each
// dealer are corrected and named; more of them are not named, and spoil the
// secret or not. A liar costs one decoding, because the next secret is taken
// from those who told the truth so far. Life: Open for each dealer in turn. The
// shares are borrowed. One thread.
class Opening {
 public:
  struct Holder {
    uint32_t index = 0;                   // in the cohort
    std::span<const SecretBytes> shares;  // one a dealer, 32 bytes each
  };
  // A wrong share: number of the dealer, index of the holder. Either of the two
  // may have lied.
  using Pair = std::pair<size_t, uint32_t>;

  // `threshold` holders or more, at distinct indices.
  Opening(std::vector<Holder> holders, uint32_t threshold);

  // `fits` says whether a candidate is what the dealer committed to.
  // RECONSTRUCT: too many shares are wrong.
  absl::StatusOr<SecretBytes> Open(
      size_t dealer, const std::function<bool(const SecretBytes&)>& fits);
  const std::vector<Pair>& wrong() const { return wrong_; }

 private:
  absl::Status ChooseBasis();
  absl::StatusOr<SecretBytes> Combine(const Interpolator& weights, size_t first,
                                      size_t dealer) const;
  absl::StatusOr<std::vector<uint32_t>> Inconsistent(
      size_t dealer, const SecretBytes& secret) const;
  absl::StatusOr<Corrected> Decode(size_t dealer) const;
  void Blame(size_t dealer, const std::vector<uint32_t>& liars);

  std::vector<Holder> holders_;
  const uint32_t threshold_;
  std::vector<uint32_t> lies_;  // wrong shares by holder
  std::vector<Pair> wrong_;
  // Positions in holders_, most truthful first; the first `threshold` are the
  // basis.
  std::vector<size_t> order_;
  // Of the basis; then, for each other holder, of the basis with its first
  // place taken by that holder.
  std::vector<Interpolator> weights_;
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_OPENING_H_
