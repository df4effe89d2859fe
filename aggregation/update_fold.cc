#include "aggregation/update_fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "aggregation/frozen_fold.h"
#include "aggregation/plan_strategy.h"
#include "aggregation/product_fold.h"
#include "aggregation/slice_check.h"
#include "base/initial_factors.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

// A sum of one number an update that does not depend on their order.
class OrderlessSum {
 public:
  void Add(double term) { terms_.push_back(term); }
  void Merge(const OrderlessSum& other) {
    terms_.insert(terms_.end(), other.terms_.begin(), other.terms_.end());
  }
  double Total() const {
    std::vector<double> sorted = terms_;
    std::sort(sorted.begin(), sorted.end());
    double total = 0;
    for (const double term : sorted) total += term;
    return total;
  }

 private:
  std::vector<double> terms_;
};

absl::Status OtherKind() {
  return absl::InvalidArgumentError(
      "cannot merge folds of different kinds or settings");
}

class PlainFold final : public UpdateFold {
 public:
  explicit PlainFold(std::unique_ptr<Aggregator> sum) : sum_(std::move(sum)) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override {
    return sum_->Accumulate(update, terms.weight);
  }
  absl::Status Merge(const UpdateFold& other) override {
    const auto* fold = dynamic_cast<const PlainFold*>(&other);
    return fold == nullptr ? OtherKind() : sum_->Merge(*fold->sum_);
  }
  absl::StatusOr<Aggregator::Result> Finish() const override {
    return sum_->Finish();
  }

 private:
  const std::unique_ptr<Aggregator> sum_;
};

// Updates go into the mean as they are, with weights w / ||a||; what is left is
// one factor: of the mean's divisor sum w / ||a|| by sum w, and tau_eff.
class PerStepFold final : public UpdateFold {
 public:
  PerStepFold(std::unique_ptr<Aggregator> sum, const LocalSolver& solver)
      : sum_(std::move(sum)), solver_(solver) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override {
    if (terms.steps < 1) {
      return absl::InvalidArgumentError(
          fmt::format("{} local steps, wanted at least 1", terms.steps));
    }
    const double norm = AccumulatedSteps(solver_, terms.steps);
    EDGETUNE_RETURN_IF_ERROR(sum_->Accumulate(update, terms.weight / norm));
    weights_.Add(terms.weight);
    steps_.Add(terms.weight * norm);
    return absl::OkStatus();
  }

  absl::Status Merge(const UpdateFold& other) override {
    const auto* fold = dynamic_cast<const PerStepFold*>(&other);
    if (fold == nullptr || fold->solver_ != solver_) return OtherKind();
    EDGETUNE_RETURN_IF_ERROR(sum_->Merge(*fold->sum_));
    weights_.Merge(fold->weights_);
    steps_.Merge(fold->steps_);
    return absl::OkStatus();
  }

  absl::StatusOr<Aggregator::Result> Finish() const override {
    EDGETUNE_ASSIGN_OR_RETURN(Aggregator::Result result, sum_->Finish());
    const double weights = weights_.Total();
    const double effective = steps_.Total() / weights;
    const double factor = result.weight_sum / weights * effective;
    for (float& value : result.mean) {
      value = static_cast<float>(value * factor);
    }
    result.weight_sum = weights;
    return result;
  }

 private:
  const std::unique_ptr<Aggregator> sum_;
  const LocalSolver solver_;
  OrderlessSum weights_, steps_;
};

// F^q as part * 2^(kBinBits * bin), part in [2^-kBinBits, 1). A sum loses at
// most so many bits of its smallest update; losses within a factor 3 share two
// bins at q = 5.
constexpr int kBinBits = 8;
struct Power {
  int bin = 0;
  double part = 0;
};

Power PowerOf(double loss, double q) {
  int exponent = 0;
  const double fraction = std::frexp(std::pow(loss, q), &exponent);
  // Rounded up, so that the exponent left is in (-kBinBits, 0].
  const int bin =
      exponent > 0 ? (exponent + kBinBits - 1) / kBinBits : exponent / kBinBits;
  return {bin, std::ldexp(fraction, exponent - kBinBits * bin)};
}

double SquaredNorm(std::span<const float> update) {
  double sum = 0;
  for (const float u : update) sum += static_cast<double>(u) * u;
  return sum;
}

// With s = F^q the step is sum w s D / sum w s c, c = 1 + q ||D||^2 / (lr F).
class FairFold final : public UpdateFold {
 public:
  FairFold(AggregatorMaker make, const FairnessOptions& options)
      : make_(std::move(make)), options_(options) {}

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override;
  absl::Status Merge(const UpdateFold& other) override;
  absl::StatusOr<Aggregator::Result> Finish() const override;

 private:
  // In the bin of this number, which is kept once something is in it.
  absl::Status InBin(int number,
                     const std::function<absl::Status(Aggregator&)>& use);

  const AggregatorMaker make_;
  const FairnessOptions options_;
  std::map<int, std::unique_ptr<Aggregator>> bins_;  // none is empty
  OrderlessSum weights_, divisor_;
};

absl::Status FairFold::InBin(
    int number, const std::function<absl::Status(Aggregator&)>& use) {
  const auto found = bins_.find(number);
  if (found != bins_.end()) return use(*found->second);
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<Aggregator> bin, make_());
  EDGETUNE_RETURN_IF_ERROR(use(*bin));
  bins_.emplace(number, std::move(bin));
  return absl::OkStatus();
}

absl::Status FairFold::Add(std::span<const float> update,
                           const UpdateTerms& terms) {
  const double loss = terms.incoming_loss;
  const Power power = PowerOf(loss, options_.q);
  if (!(loss > 0) || !(power.part > 0) || !std::isfinite(power.part)) {
    return absl::InvalidArgumentError(fmt::format(
        "an incoming loss of {} has no power of {} to weigh an update with",
        loss, options_.q));
  }
  EDGETUNE_RETURN_IF_ERROR(InBin(power.bin, [&](Aggregator& bin) {
    return bin.Accumulate(update, terms.weight * power.part);
  }));
  const double curved =
      1 + options_.q * SquaredNorm(update) / (options_.lr * loss);
  weights_.Add(terms.weight);
  divisor_.Add(
      std::ldexp(terms.weight * power.part * curved, kBinBits * power.bin));
  return absl::OkStatus();
}

absl::Status FairFold::Merge(const UpdateFold& other) {
  const auto* fold = dynamic_cast<const FairFold*>(&other);
  if (fold == nullptr || fold->options_ != options_) return OtherKind();
  for (const auto& [number, theirs] : fold->bins_) {
    EDGETUNE_RETURN_IF_ERROR(
        InBin(number, [&](Aggregator& ours) { return ours.Merge(*theirs); }));
  }
  weights_.Merge(fold->weights_);
  divisor_.Merge(fold->divisor_);
  return absl::OkStatus();
}

absl::StatusOr<Aggregator::Result> FairFold::Finish() const {
  if (bins_.empty()) {
    return absl::FailedPreconditionError("no update was accumulated");
  }
  const double divisor = divisor_.Total();
  Aggregator::Result out;
  std::vector<double> step;
  for (const auto& [number, bin] : bins_) {
    EDGETUNE_ASSIGN_OR_RETURN(const Aggregator::Result part, bin->Finish());
    step.resize(part.mean.size());
    const double share =
        std::ldexp(part.weight_sum, kBinBits * number) / divisor;
    for (size_t i = 0; i < step.size(); ++i) step[i] += share * part.mean[i];
    out.updates += part.updates;
  }
  out.mean.assign(step.begin(), step.end());
  out.weight_sum = weights_.Total();
  return out;
}

// The mean over all is one of zero-padded updates: a slice's own has another
// divisor.
class SliceFold final : public UpdateFold {
 public:
  SliceFold(std::unique_ptr<Aggregator> sum, const ParameterLayout& layout)
      : sum_(std::move(sum)), slices_(SlicesOf(layout)) {
    for (const uint32_t slice : slices_) rank_ = std::max(rank_, slice + 1);
  }

  absl::Status Add(std::span<const float> update,
                   const UpdateTerms& terms) override;
  absl::Status Merge(const UpdateFold& other) override;
  absl::StatusOr<Aggregator::Result> Finish() const override;

 private:
  // Sum of the weights of those with more than `slice` slices.
  double WeightBeyond(uint32_t slice) const;

  const std::unique_ptr<Aggregator> sum_;
  const std::vector<uint32_t> slices_;        // of each coordinate
  uint32_t rank_ = 0;                         // of the whole adapter
  std::map<uint32_t, OrderlessSum> weights_;  // by rank trained
};

absl::Status SliceFold::Add(std::span<const float> update,
                            const UpdateTerms& terms) {
  EDGETUNE_ASSIGN_OR_RETURN(const uint32_t rank,
                            CheckSlices(update, slices_, terms.rank, rank_));
  EDGETUNE_RETURN_IF_ERROR(sum_->Accumulate(update, terms.weight));
  weights_[rank].Add(terms.weight);
  return absl::OkStatus();
}

absl::Status SliceFold::Merge(const UpdateFold& other) {
  const auto* fold = dynamic_cast<const SliceFold*>(&other);
  if (fold == nullptr || fold->slices_ != slices_) return OtherKind();
  EDGETUNE_RETURN_IF_ERROR(sum_->Merge(*fold->sum_));
  for (const auto& [rank, weights] : fold->weights_) {
    weights_[rank].Merge(weights);
  }
  return absl::OkStatus();
}

double SliceFold::WeightBeyond(uint32_t slice) const {
  OrderlessSum sum;
  for (const auto& [rank, weights] : weights_) {
    if (rank > slice) sum.Merge(weights);
  }
  return sum.Total();
}

absl::StatusOr<Aggregator::Result> SliceFold::Finish() const {
  EDGETUNE_ASSIGN_OR_RETURN(Aggregator::Result result, sum_->Finish());
  std::vector<double> factors(rank_);
  result.weight_sum = WeightBeyond(0);
  for (uint32_t slice = 0; slice < rank_; ++slice) {
    // 0 of nobody: its coordinates are zeros.
    const double weights = WeightBeyond(slice);
    factors[slice] = weights > 0 ? result.weight_sum / weights : 0;
  }
  for (size_t i = 0; i < slices_.size(); ++i) {
    result.mean[i] = static_cast<float>(result.mean[i] * factors[slices_[i]]);
  }
  return result;
}

LocalSolver SolverOf(const v1::TrainSpec& train) {
  return {.momentum = train.momentum(), .pull = train.lr() * train.prox_mu()};
}

absl::StatusOr<std::unique_ptr<UpdateFold>> FoldOfProducts(
    const v1::TaskPlan& plan, FoldStart start) {
  EDGETUNE_ASSIGN_OR_RETURN(ParameterLayout layout, AdapterLayout(plan));
  EDGETUNE_ASSIGN_OR_RETURN(const CombineOptions options,
                            CombineOptionsOf(plan, start.round));
  if (!KeepsFrozenSlices(plan)) {
    return MakeProductFold(options.limits, layout, std::move(start.adapter));
  }
  FrozenFoldStart frozen{
      std::move(layout), FrozenRank(plan), std::move(start.adapter), {}};
  if (BeginsAnew(plan)) {
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout trained,
                              UpdateLayout(plan, start.round));
    frozen.anew =
        InitialFactors(trained, plan.train().seed(), uint64_t{start.round} + 1);
  }
  return MakeFrozenFold(options.limits, std::move(frozen));
}

}  // namespace

std::unique_ptr<UpdateFold> MakePlainFold(std::unique_ptr<Aggregator> sum) {
  return std::make_unique<PlainFold>(std::move(sum));
}

// Along a gradient of 1: a buffer of momentum, and a pull back that grows with
// the way gone.
double AccumulatedSteps(const LocalSolver& solver, int64_t steps) {
  double buffer = 0, way = 0;
  for (int64_t step = 0; step < steps; ++step) {
    buffer = solver.momentum * buffer + 1 - solver.pull * way;
    way += buffer;
  }
  return way;
}

std::unique_ptr<UpdateFold> MakePerStepFold(std::unique_ptr<Aggregator> sum,
                                            const LocalSolver& solver) {
  return std::make_unique<PerStepFold>(std::move(sum), solver);
}

std::unique_ptr<UpdateFold> MakeFairFold(AggregatorMaker make,
                                         const FairnessOptions& options) {
  return std::make_unique<FairFold>(std::move(make), options);
}

std::unique_ptr<UpdateFold> MakeSliceFold(std::unique_ptr<Aggregator> sum,
                                          const ParameterLayout& layout) {
  return std::make_unique<SliceFold>(std::move(sum), layout);
}

absl::StatusOr<std::unique_ptr<UpdateFold>> MakeUpdateFold(
    const v1::TaskPlan& plan, AggregatorMaker make, FoldStart start) {
  const v1::RoundsSpec& rounds = plan.rounds();
  if (StepsFromProducts(plan)) return FoldOfProducts(plan, std::move(start));
  if (rounds.fairness_q() > 0) {
    return MakeFairFold(std::move(make),
                        {.q = rounds.fairness_q(), .lr = plan.train().lr()});
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<Aggregator> sum, make());
  if (rounds.normalise() == "steps") {
    return MakePerStepFold(std::move(sum), SolverOf(plan.train()));
  }
  if (TrainsSlices(plan)) {
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              AdapterLayout(plan));
    return MakeSliceFold(std::move(sum), layout);
  }
  return MakePlainFold(std::move(sum));
}

}  // namespace edgetune
