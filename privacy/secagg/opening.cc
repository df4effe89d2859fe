#include "privacy/secagg/opening.h"

#include <algorithm>
#include <numeric>

#include "base/status.h"
#include "privacy/secagg/member.h"

namespace edgetune::secagg {

Opening::Opening(std::vector<Holder> holders, uint32_t threshold)
    : holders_(std::move(holders)),
      threshold_(threshold),
      lies_(holders_.size(), 0),
      order_(holders_.size()) {
  EDGETUNE_CHECK(holders_.size() >= threshold_ && threshold_ > 0);
  std::iota(order_.begin(), order_.end(), 0);
}

absl::StatusOr<SecretBytes> Opening::Open(
    size_t dealer, const std::function<bool(const SecretBytes&)>& fits) {
  if (weights_.empty()) EDGETUNE_RETURN_IF_ERROR(ChooseBasis());
  EDGETUNE_ASSIGN_OR_RETURN(SecretBytes secret,
                            Combine(weights_[0], order_[0], dealer));
  const bool found = fits(secret);
  if (found) {
    EDGETUNE_ASSIGN_OR_RETURN(const std::vector<uint32_t> others,
                              Inconsistent(dealer, secret));
    // Two words of the code differ in more than twice this many places: so few
    // cannot be the honest ones.
    if (others.size() <= (holders_.size() - threshold_) / 2) {
      Blame(dealer, others);
      return secret;
    }
  }
  absl::StatusOr<Corrected> decoded = Decode(dealer);
  if (decoded.ok() && fits(decoded->secret)) {
    Blame(dealer, decoded->bad);
    weights_.clear();
    return std::move(decoded->secret);
  }
  if (found) return secret;
  return AbortError(v1::RECONSTRUCT, "too many wrong shares of one member");
}

absl::Status Opening::ChooseBasis() {
  std::ranges::stable_sort(order_, {}, [&](size_t h) { return lies_[h]; });
  std::vector<uint32_t> basis;
  for (size_t i = 0; i < threshold_; ++i) {
    basis.push_back(holders_[order_[i]].index);
  }
  EDGETUNE_ASSIGN_OR_RETURN(Interpolator weights, Interpolator::Make(basis));
  weights_.push_back(std::move(weights));
  for (size_t i = threshold_; i < order_.size(); ++i) {
    basis[0] = holders_[order_[i]].index;
    EDGETUNE_ASSIGN_OR_RETURN(Interpolator other, Interpolator::Make(basis));
    weights_.push_back(std::move(other));
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> Opening::Combine(const Interpolator& weights,
                                             size_t first,
                                             size_t dealer) const {
  std::vector<std::span<const uint8_t>> shares = {
      holders_[first].shares[dealer].bytes()};
  for (size_t i = 1; i < threshold_; ++i) {
    shares.push_back(holders_[order_[i]].shares[dealer].bytes());
  }
  return weights.Combine(shares);
}

// Holders outside the basis whose share is not on its polynomial. Two
// polynomials of degree t - 1 that agree in t - 1 members of the basis and at 0
// are one: such a holder, in the place of the first member, leads to another
// secret.
absl::StatusOr<std::vector<uint32_t>> Opening::Inconsistent(
    size_t dealer, const SecretBytes& secret) const {
  std::vector<uint32_t> found;
  for (size_t i = threshold_; i < order_.size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        const SecretBytes other,
        Combine(weights_[i - threshold_ + 1], order_[i], dealer));
    if (!other.Equals(secret.bytes())) {
      found.push_back(holders_[order_[i]].index);
    }
  }
  return found;
}

absl::StatusOr<Corrected> Opening::Decode(size_t dealer) const {
  std::vector<HeldShare> shares;
  for (const Holder& holder : holders_) {
    shares.push_back({holder.index, holder.shares[dealer].bytes()});
  }
  return CorrectShares(shares, threshold_);
}

void Opening::Blame(size_t dealer, const std::vector<uint32_t>& liars) {
  for (size_t h = 0; h < holders_.size(); ++h) {
    if (std::ranges::count(liars, holders_[h].index) == 0) continue;
    ++lies_[h];
    wrong_.emplace_back(dealer, holders_[h].index);
  }
}

}  // namespace edgetune::secagg
