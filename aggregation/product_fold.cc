#include "aggregation/product_fold.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "aggregation/held_set.h"
#include "aggregation/product_mean.h"
#include "aggregation/slice_check.h"
#include "aggregation/update_check.h"
#include "base/rank_slices.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Tensor = ParameterLayout::Tensor;

class ProductFold final : public UpdateFold {
 public:
  ProductFold(const WeightedMeanOptions& limits, const ParameterLayout& layout,
              ParameterVector incoming)
      : layout_(layout),
        slices_(SlicesOf(layout)),
        rank_(static_cast<uint32_t>(layout.tensors().front().shape[0])),
        incoming_(std::move(incoming)),
        held_(limits) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override {
    EDGETUNE_ASSIGN_OR_RETURN(const uint32_t rank,
                              CheckSlices(update, slices_, terms.rank, rank_));
    return held_.Add(update, terms.weight, rank);
  }

  absl::Status Merge(const UpdateFold& other) override {
    const auto* fold = dynamic_cast<const ProductFold*>(&other);
    if (fold == nullptr || fold->layout_ != layout_ ||
        fold->incoming_ != incoming_ ||
        fold->held_.limits() != held_.limits()) {
      return absl::InvalidArgumentError(
          "cannot merge folds of different kinds or settings");
    }
    return held_.Merge(fold->held_);
  }

  absl::StatusOr<Aggregator::Result> Finish() const override;

 private:
  // The first `rank` slices of the incoming tensor and its update.
  ParameterVector Part(const Tensor& tensor, std::span<const float> update,
                       int64_t rank) const;
  NearestFactors Nearest(const Tensor& a, const Tensor& b,
                         std::span<const HeldUpdate* const> updates,
                         double weights) const;

  const ParameterLayout layout_;
  const std::vector<uint32_t> slices_;  // of each coordinate
  const uint32_t rank_;
  const ParameterVector incoming_;
  HeldSet held_;
};

ParameterVector ProductFold::Part(const Tensor& tensor,
                                  std::span<const float> update,
                                  int64_t rank) const {
  ParameterVector part;
  for (size_t i = tensor.offset; i < tensor.offset + tensor.count; ++i) {
    if (slices_[i] < rank) part.push_back(incoming_[i] + update[i]);
  }
  return part;
}

NearestFactors ProductFold::Nearest(const Tensor& a, const Tensor& b,
                                    std::span<const HeldUpdate* const> updates,
                                    double weights) const {
  const ModuleShape shape = {.out = static_cast<size_t>(b.shape[0]),
                             .in = static_cast<size_t>(a.shape[1]),
                             .rank = rank_};
  std::vector<LoraProduct> products;
  int64_t ranks = 0;
  for (const HeldUpdate* update : updates) {
    products.push_back({Part(a, update->values, update->rank),
                        Part(b, update->values, update->rank),
                        static_cast<size_t>(update->rank),
                        update->weight / weights});
    ranks += update->rank;
  }
  if (ranks < rank_) {
    // Too few directions: where B is zero A stays in the incoming one's.
    const ParameterVector none(incoming_.size());
    products.push_back({Part(a, none, rank_), Part(b, none, rank_), rank_, 0});
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
  result.mean.resize(layout_.size());
  double energy = 0, kept = 0;
  for (size_t t = 0; t < layout_.tensors().size(); t += 2) {
    const Tensor& a = layout_.tensors()[t];
    const Tensor& b = layout_.tensors()[t + 1];
    const NearestFactors nearest = Nearest(a, b, updates, result.weight_sum);
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
