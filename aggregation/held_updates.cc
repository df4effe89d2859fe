#include "aggregation/held_updates.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "aggregation/held_set.h"
#include "aggregation/robust_rules.h"
#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {
namespace {

class HeldUpdates final : public Aggregator {
 public:
  explicit HeldUpdates(const CombineOptions& options)
      : options_(options), held_(options.limits) {}

  absl::Status Accumulate(std::span<const float> update,
                          double weight) override;
  absl::Status Merge(const Aggregator& other) override;
  absl::StatusOr<Result> Finish() const override;

 private:
  ParameterVector Combine(Updates updates,
                          std::span<const double> weights) const;

  const CombineOptions options_;
  HeldSet held_;
};

absl::Status HeldUpdates::Accumulate(std::span<const float> update,
                                     double weight) {
  return held_.Add(update, weight);
}

absl::Status HeldUpdates::Merge(const Aggregator& other) {
  const auto* same = dynamic_cast<const HeldUpdates*>(&other);
  if (same == nullptr || same->options_ != options_) return CannotMerge();
  return held_.Merge(same->held_);
}

ParameterVector HeldUpdates::Combine(Updates updates,
                                     std::span<const double> weights) const {
  const size_t n = updates.size();
  const auto f = static_cast<size_t>(options_.byzantine);
  const auto kept = static_cast<size_t>(options_.kept);
  switch (options_.rule) {
    case CombineRule::kTrimmedMean:
      return TrimmedMean(updates, CutAtEachEnd(options_.trim, n));
    case CombineRule::kGeometricMedian:
      return GeometricMedian(updates, weights);
    case CombineRule::kKrum:
      return Mean(KrumBest(updates, f, 1));
    case CombineRule::kMultiKrum:
      return Mean(KrumBest(updates, f, kept == 0 ? n - f : kept));
    case CombineRule::kBulyan:
      return MeanAroundMedian(BulyanSelection(updates, f), n - 4 * f);
    default:
      return Median(updates);
  }
}

absl::StatusOr<Aggregator::Result> HeldUpdates::Finish() const {
  const int64_t fewest = FewestUpdates(options_);
  if (std::cmp_less(held_.size(), fewest)) {
    return absl::FailedPreconditionError(
        fmt::format("{} updates were accumulated, the rule {} needs at least "
                    "{}",
                    held_.size(), CombineRuleName(options_.rule), fewest));
  }
  std::vector<std::span<const float>> updates;
  std::vector<double> weights;
  Result result;
  for (const HeldUpdate* held : held_.Sorted()) {
    updates.emplace_back(held->values);
    weights.push_back(held->weight);
    result.weight_sum += held->weight;
  }
  result.mean = Combine(updates, weights);
  result.updates = static_cast<int64_t>(held_.size());
  return result;
}

}  // namespace

std::unique_ptr<Aggregator> MakeHeldUpdates(const CombineOptions& options) {
  return std::make_unique<HeldUpdates>(options);
}

}  // namespace edgetune
