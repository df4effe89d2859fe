#include <fmt/format.h>

#include <cmath>

#include "aggregation/aggregator.h"
#include "aggregation/exact_sum.h"
#include "aggregation/update_check.h"
#include "base/fixed_point.h"
#include "base/status.h"

namespace edgetune {
namespace {

// 62 of int64's 64 bits: the scale bounds the exact sums, and the factor 4
// that is left absorbs the rounding of each product to double.
constexpr int kBits = 62;

// Sums a_i = round(w_i / cap * u_i * S) and b_i = round(w_i / cap * T) as
// integers; the mean is (sum a / S) / (sum b / T). Each term depends on its
// own update alone, so the sums depend on nothing but the set of updates.
class WeightedMean final : public Aggregator {
 public:
  WeightedMean(const WeightedMeanOptions& options,
               const FixedPoint& coordinates, const FixedPoint& weights)
      : options_(options),
        coordinate_scale_(coordinates.scale()),
        weight_scale_(weights.scale()),
        sums_(options.coordinates) {}

  absl::Status Accumulate(std::span<const float> update,
                          double weight) override;
  absl::Status Merge(const Aggregator& other) override;
  absl::StatusOr<Result> Finish() const override;

 private:
  const WeightedMeanOptions options_;
  const double coordinate_scale_;
  const double weight_scale_;
  ExactSum sums_;
  int64_t weight_sum_ = 0;
  int64_t updates_ = 0;
};

absl::Status WeightedMean::Accumulate(std::span<const float> update,
                                      double weight) {
  EDGETUNE_RETURN_IF_ERROR(CheckRoom(updates_, 1, options_));
  EDGETUNE_RETURN_IF_ERROR(CheckWeight(weight, options_));
  const double share = weight / options_.weight_cap;
  const int64_t fixed_weight = std::llrint(share * weight_scale_);
  if (fixed_weight == 0) {
    return absl::InvalidArgumentError(
        fmt::format("weight {} is too small beside the cap {}", weight,
                    options_.weight_cap));
  }
  if (update.size() != options_.coordinates ||
      !sums_.Add(update, share * coordinate_scale_, options_.bound)) {
    return CheckUpdate(update, options_);  // says why
  }
  weight_sum_ += fixed_weight;
  ++updates_;
  return absl::OkStatus();
}

absl::Status WeightedMean::Merge(const Aggregator& other) {
  const auto* mean = dynamic_cast<const WeightedMean*>(&other);
  if (mean == nullptr || mean->options_ != options_) return CannotMerge();
  EDGETUNE_RETURN_IF_ERROR(CheckRoom(updates_, mean->updates_, options_));
  sums_.Merge(mean->sums_);
  weight_sum_ += mean->weight_sum_;
  updates_ += mean->updates_;
  return absl::OkStatus();
}

absl::StatusOr<Aggregator::Result> WeightedMean::Finish() const {
  if (updates_ == 0) {
    return absl::FailedPreconditionError("no update was accumulated");
  }
  const double share = static_cast<double>(weight_sum_) / weight_scale_;
  Result result;
  result.mean.resize(sums_.size());
  const double divisor = coordinate_scale_ * share;
  for (size_t i = 0; i < sums_.size(); ++i) {
    result.mean[i] =
        static_cast<float>(static_cast<double>(sums_.at(i)) / divisor);
  }
  result.weight_sum = share * options_.weight_cap;
  result.updates = updates_;
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Aggregator>> MakeWeightedMean(
    const WeightedMeanOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(CheckLimits(options));
  EDGETUNE_ASSIGN_OR_RETURN(
      const FixedPoint coordinates,
      FixedPoint::Make(kBits, options.bound, options.max_updates));
  EDGETUNE_ASSIGN_OR_RETURN(const FixedPoint weights,
                            FixedPoint::Make(kBits, 1, options.max_updates));
  return std::make_unique<WeightedMean>(options, coordinates, weights);
}

}  // namespace edgetune
