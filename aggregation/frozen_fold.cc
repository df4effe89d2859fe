#include "aggregation/frozen_fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "aggregation/held_set.h"
#include "aggregation/product_mean.h"
#include "aggregation/slice_check.h"
#include "aggregation/sliced_product.h"
#include "aggregation/update_check.h"
#include "base/rank_slices.h"
#include "base/status.h"

namespace edgetune {
namespace {

using UpdateList = std::vector<const HeldUpdate*>;

// Of the slices beyond what is significant, A is zero as B is.
void StoreSignificant(const NearestFactors& nearest, const SlicedLayout& sliced,
                      size_t module, ParameterVector& values) {
  const auto store = [&](size_t t, const ParameterVector& factor) {
    const ParameterLayout::Tensor& tensor = sliced.layout.tensors()[t];
    for (size_t i = 0; i < tensor.count; ++i) {
      const size_t at = tensor.offset + i;
      values[at] = sliced.slices[at] < nearest.significant ? factor[i] : 0;
    }
  };
  store(2 * module, nearest.a);
  store(2 * module + 1, nearest.b);
}

class FrozenFold final : public UpdateFold {
 public:
  FrozenFold(const WeightedMeanOptions& limits, FrozenFoldStart start)
      : start_(std::move(start)),
        rank_(SliceCount(start_.layout) - start_.frozen),
        trained_(LayoutOfRank(start_.layout, rank_)),
        frozen_(LayoutOfRank(start_.layout, start_.frozen)),
        incoming_(FirstSlices(start_.adapter, start_.layout, rank_)),
        added_(WithoutSlices(start_.adapter, start_.layout, 0, rank_)),
        held_(limits) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override {
    EDGETUNE_ASSIGN_OR_RETURN(
        const uint32_t rank,
        CheckSlices(update, trained_.slices, terms.rank, trained_.rank));
    return held_.Add(update, terms.weight, rank);
  }

  absl::Status Merge(const UpdateFold& other) override {
    const auto* fold = dynamic_cast<const FrozenFold*>(&other);
    if (fold == nullptr || fold->start_.layout != start_.layout ||
        fold->start_.frozen != start_.frozen ||
        fold->start_.adapter != start_.adapter ||
        fold->start_.anew != start_.anew ||
        fold->held_.limits() != held_.limits()) {
      return absl::InvalidArgumentError(
          "cannot merge folds of different kinds or settings");
    }
    return held_.Merge(fold->held_);
  }

  absl::StatusOr<Aggregator::Result> Finish() const override;

 private:
  // What trained slices become, as exactly as a step of float32 comes there.
  ParameterVector NextTrained(const UpdateList& updates, double weights) const;
  NearestFactors NextFrozen(size_t module, const UpdateList& updates,
                            double weights, const ParameterVector& next) const;

  const FrozenFoldStart start_;
  const int64_t rank_;  // trained slices
  const SlicedLayout trained_, frozen_;
  const ParameterVector incoming_, added_;  // of these layouts
  HeldSet held_;
};

ParameterVector FrozenFold::NextTrained(const UpdateList& updates,
                                        double weights) const {
  ParameterVector next = incoming_;
  for (size_t i = 0; i < next.size(); ++i) {
    if (!start_.anew.empty()) {
      next[i] += start_.anew[i] - next[i];
      continue;
    }
    double sum = 0;
    for (const HeldUpdate* update : updates) {
      sum += update->weight * update->values[i];
    }
    next[i] += static_cast<float>(sum / weights);
  }
  return next;
}

NearestFactors FrozenFold::NextFrozen(size_t module, const UpdateList& updates,
                                      double weights,
                                      const ParameterVector& next) const {
  std::vector<LoraProduct> products;
  products.push_back(ProductOf(frozen_, module, added_, 1));
  for (const HeldUpdate* update : updates) {
    products.push_back(ProductOf(trained_, module, incoming_, update->values,
                                 update->rank, update->weight / weights));
  }
  products.push_back(ProductOf(trained_, module, next, -1));
  return NearestToSum(products, ShapeOf(frozen_, module));
}

absl::StatusOr<Aggregator::Result> FrozenFold::Finish() const {
  if (held_.size() == 0) {
    return absl::FailedPreconditionError("no update was accumulated");
  }
  const UpdateList updates = held_.Sorted();
  Aggregator::Result result;
  for (const HeldUpdate* update : updates) result.weight_sum += update->weight;
  result.updates = std::ssize(updates);
  const ParameterVector next = NextTrained(updates, result.weight_sum);
  ParameterVector added(added_.size());
  double energy = 0, kept = 0;
  for (size_t m = 0; m < frozen_.modules(); ++m) {
    const NearestFactors nearest =
        NextFrozen(m, updates, result.weight_sum, next);
    StoreSignificant(nearest, frozen_, m, added);
    if (nearest.significant == 0) continue;
    energy += nearest.energy;
    kept += nearest.kept;
  }
  result.kept = energy > 0 ? kept / energy : 1;
  result.mean = JoinSlices(next, added, start_.layout, rank_);
  for (size_t i = 0; i < result.mean.size(); ++i) {
    result.mean[i] -= start_.adapter[i];
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UpdateFold>> MakeFrozenFold(
    const WeightedMeanOptions& limits, FrozenFoldStart start) {
  EDGETUNE_RETURN_IF_ERROR(CheckLimits(limits));
  const int64_t rank = SliceCount(start.layout);
  if (start.frozen < 1 || start.frozen >= rank) {
    return absl::InvalidArgumentError(fmt::format(
        "{} frozen rank slices, wanted 1 to {}", start.frozen, rank - 1));
  }
  const size_t trained = LayoutOfRank(start.layout, rank - start.frozen).size();
  if (start.adapter.size() != start.layout.size() ||
      limits.coordinates != trained ||
      (!start.anew.empty() && start.anew.size() != trained)) {
    return absl::InvalidArgumentError(fmt::format(
        "an incoming adapter of {} coordinates, limits for {} and {} to begin "
        "with, wanted {}, {} and as many or none",
        start.adapter.size(), limits.coordinates, start.anew.size(),
        start.layout.size(), trained));
  }
  return std::make_unique<FrozenFold>(limits, std::move(start));
}

}  // namespace edgetune
