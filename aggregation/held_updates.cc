#include "aggregation/held_updates.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <string>
#include <vector>

#include "aggregation/robust_rules.h"
#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {
namespace {

struct Held {
  ParameterVector values;
  double weight;
  // By content: coordinates first, then the weight. None holds a NaN. Zeros of
  // both signs are equal here, and so are sums of them that begin at 0.
  auto operator<=>(const Held&) const = default;
};

class HeldUpdates final : public Aggregator {
 public:
  explicit HeldUpdates(const CombineOptions& options) : options_(options) {}

  absl::Status Accumulate(std::span<const float> update,
                          double weight) override;
  absl::Status Merge(const Aggregator& other) override;
  absl::StatusOr<Result> Finish() const override;

 private:
  // Pointers into held_, by content.
  std::vector<const Held*> Sorted() const;
  ParameterVector Combine(Updates updates,
                          std::span<const double> weights) const;

  const CombineOptions options_;
  std::vector<Held> held_;
};

absl::Status HeldUpdates::Accumulate(std::span<const float> update,
                                     double weight) {
  EDGETUNE_RETURN_IF_ERROR(CheckRoom(std::ssize(held_), 1, options_.limits));
  EDGETUNE_RETURN_IF_ERROR(CheckWeight(weight, options_.limits));
  EDGETUNE_RETURN_IF_ERROR(CheckUpdate(update, options_.limits));
  held_.push_back({{update.begin(), update.end()}, weight});
  return absl::OkStatus();
}

absl::Status HeldUpdates::Merge(const Aggregator& other) {
  const auto* same = dynamic_cast<const HeldUpdates*>(&other);
  if (same == nullptr || same->options_ != options_) return CannotMerge();
  const size_t count = same->held_.size();
  EDGETUNE_RETURN_IF_ERROR(CheckRoom(
      std::ssize(held_), static_cast<int64_t>(count), options_.limits));
  // By index: `other` may be this one.
  held_.reserve(held_.size() + count);
  for (size_t i = 0; i < count; ++i) held_.push_back(same->held_[i]);
  return absl::OkStatus();
}

std::vector<const Held*> HeldUpdates::Sorted() const {
  std::vector<const Held*> sorted;
  for (const Held& held : held_) sorted.push_back(&held);
  std::sort(sorted.begin(), sorted.end(),
            [](const Held* a, const Held* b) { return *a < *b; });
  return sorted;
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
  if (std::ssize(held_) < fewest) {
    return absl::FailedPreconditionError(
        fmt::format("{} updates were accumulated, the rule {} needs at least "
                    "{}",
                    held_.size(), CombineRuleName(options_.rule), fewest));
  }
  std::vector<std::span<const float>> updates;
  std::vector<double> weights;
  Result result;
  for (const Held* held : Sorted()) {
    updates.emplace_back(held->values);
    weights.push_back(held->weight);
    result.weight_sum += held->weight;
  }
  result.mean = Combine(updates, weights);
  result.updates = std::ssize(held_);
  return result;
}

}  // namespace

std::unique_ptr<Aggregator> MakeHeldUpdates(const CombineOptions& options) {
  return std::make_unique<HeldUpdates>(options);
}

}  // namespace edgetune
