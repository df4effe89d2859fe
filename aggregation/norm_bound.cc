#include "aggregation/norm_bound.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {
namespace {

class NormBound final : public Aggregator {
 public:
  NormBound(const CombineOptions& options, std::unique_ptr<Aggregator> mean)
      : options_(options), mean_(std::move(mean)) {}

  absl::Status Accumulate(std::span<const float> update,
                          double weight) override {
    // Before it is shortened: what is beyond the bound stays refused.
    EDGETUNE_RETURN_IF_ERROR(CheckUpdate(update, options_.limits));
    double squares = 0;
    for (const float u : update) squares += double{u} * u;
    const double length = std::sqrt(squares);
    if (length <= options_.norm_bound) return mean_->Accumulate(update, weight);
    const double factor = options_.norm_bound / length;
    ParameterVector shortened(update.begin(), update.end());
    for (float& u : shortened) u = static_cast<float>(u * factor);
    return mean_->Accumulate(shortened, weight);
  }
  absl::Status Merge(const Aggregator& other) override {
    const auto* same = dynamic_cast<const NormBound*>(&other);
    if (same == nullptr || same->options_ != options_) return CannotMerge();
    return mean_->Merge(*same->mean_);
  }
  absl::StatusOr<Result> Finish() const override { return mean_->Finish(); }

 private:
  const CombineOptions options_;
  const std::unique_ptr<Aggregator> mean_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Aggregator>> MakeNormBound(
    const CombineOptions& options) {
  // No coordinate is longer than its update, but for the rounding of a float:
  // the sum's steps can be that much finer.
  constexpr double kRounding = 1 + 1e-6;
  WeightedMeanOptions limits = options.limits;
  limits.bound = std::min(limits.bound, options.norm_bound * kRounding);
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<Aggregator> mean,
                            MakeWeightedMean(limits));
  return std::make_unique<NormBound>(options, std::move(mean));
}

}  // namespace edgetune
