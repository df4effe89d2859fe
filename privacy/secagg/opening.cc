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
  if (!fits(secret)) return Correct(dealer, fits);
  EDGETUNE_RETURN_IF_ERROR(CompareRest(dealer, secret));
  return secret;
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

// Two polynomials of degree t - 1 that agree in t - 1 members of the basis and
// at 0 are one: a holder in the place of the first member leads to the same
// secret if and only if its share is on the polynomial of the basis.
absl::Status Opening::CompareRest(size_t dealer, const SecretBytes& secret) {
  for (size_t i = threshold_; i < order_.size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        const SecretBytes same,
        Combine(weights_[i - threshold_ + 1], order_[i], dealer));
    if (!same.Equals(secret.bytes())) Note(dealer, order_[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> Opening::Correct(
    size_t dealer, const std::function<bool(const SecretBytes&)>& fits) {
  std::vector<HeldShare> shares;
  for (const Holder& holder : holders_) {
    shares.push_back({holder.index, holder.shares[dealer].bytes()});
  }
  absl::StatusOr<Corrected> corrected = CorrectShares(shares, threshold_);
  if (!corrected.ok() || !fits(corrected->secret)) {
    return AbortError(v1::RECONSTRUCT, "too many wrong shares of one member");
  }
  for (size_t h = 0; h < holders_.size(); ++h) {
    if (std::ranges::count(corrected->bad, holders_[h].index) > 0) {
      Note(dealer, h);
    }
  }
  weights_.clear();
  return std::move(corrected->secret);
}

void Opening::Note(size_t dealer, size_t holder) {
  ++lies_[holder];
  wrong_.emplace_back(dealer, holders_[holder].index);
}

}  // namespace edgetune::secagg
