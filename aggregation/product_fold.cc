#include "aggregation/product_fold.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "aggregation/held_set.h"
#include "aggregation/product_mean.h"
#include "aggregation/slice_check.h"
#include "aggregation/sliced_product.h"
#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Tensor = ParameterLayout::Tensor;

class ProductFold final : public UpdateFold {
 public:
  ProductFold(const WeightedMeanOptions& limits, const ParameterLayout& layout,
              ParameterVector incoming)
      : sliced_(layout), incoming_(std::move(incoming)), held_(limits) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override {
    EDGETUNE_ASSIGN_OR_RETURN(
        const uint32_t rank,
        CheckSlices(update, sliced_.slices, terms.rank, sliced_.rank));
    return held_.Add(update, terms.weight, rank);
  }

  absl::Status Merge(const UpdateFold& other) override {
    const auto* fold = dynamic_cast<const ProductFold*>(&other);
    if (fold == nullptr || fold->sliced_.layout != sliced_.layout ||
        fold->incoming_ != incoming_ ||
        fold->held_.limits() != held_.limits()) {
      return absl::InvalidArgumentError(
          "cannot merge folds of different kinds or settings");
    }
    return held_.Merge(fold->held_);
  }

  absl::StatusOr<Aggregator::Result> Finish() const override;

 private:
  NearestFactors Nearest(size_t module,
                         std::span<const HeldUpdate* const> updates,
                         double weights) const;

  const SlicedLayout sliced_;
  const ParameterVector incoming_;
  HeldSet held_;
};

NearestFactors ProductFold::Nearest(size_t module,
                                    std::span<const HeldUpdate* const> updates,
                                    double weights) const {
  const ModuleShape shape = ShapeOf(sliced_, module);
  std::vector<LoraProduct> products;
  int64_t ranks = 0;
  for (const HeldUpdate* update : updates) {
    products.push_back(ProductOf(sliced_, module, incoming_, update->values,
                                 update->rank, update->weight / weights));
    ranks += update->rank;
  }
  if (ranks < sliced_.rank) {
    // Too few directions: where B is zero A stays in the incoming one's.
    products.push_back(ProductOf(sliced_, module, incoming_, 0));
  }
  return NearestToSum(products, shape);
}

absl::StatusOr<Aggregator::Result> ProductFold::Finish() const {
  if (held_.size() == 0) {
    return absl::FailedPreconditionError("no update was accumulated");
  }
  const std::vector<const HeldUpdate*> updates = held_.Sorted();
  Aggregator::Result result;
  for (const HeldUpdate* update : updates) result.weight_sum += update->weight;
  result.updates = std::ssize(updates);
  result.mean.resize(sliced_.layout.size());
  double energy = 0, kept = 0;
  for (size_t m = 0; m < sliced_.modules(); ++m) {
    const Tensor& a = sliced_.layout.tensors()[2 * m];
    const Tensor& b = sliced_.layout.tensors()[2 * m + 1];
    const NearestFactors nearest = Nearest(m, updates, result.weight_sum);
    for (size_t i = 0; i < a.count; ++i) {
      result.mean[a.offset + i] = nearest.a[i] - incoming_[a.offset + i];
    }
    for (size_t i = 0; i < b.count; ++i) {
      result.mean[b.offset + i] = nearest.b[i] - incoming_[b.offset + i];
    }
    energy += nearest.energy;
    kept += nearest.kept;
  }
  result.kept = energy > 0 ? kept / energy : 1;
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UpdateFold>> MakeProductFold(
    const WeightedMeanOptions& limits, const ParameterLayout& layout,
    ParameterVector incoming) {
  EDGETUNE_RETURN_IF_ERROR(CheckLimits(limits));
  if (incoming.size() != layout.size() || limits.coordinates != layout.size()) {
    return absl::InvalidArgumentError(fmt::format(
        "an incoming adapter of {} coordinates and limits for {}, wanted {}",
        incoming.size(), limits.coordinates, layout.size()));
  }
  return std::make_unique<ProductFold>(limits, layout, std::move(incoming));
}

}  // namespace edgetune
