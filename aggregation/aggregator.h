#ifndef EDGETUNE_AGGREGATION_AGGREGATOR_H_
#define EDGETUNE_AGGREGATION_AGGREGATOR_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/parameters.h"

namespace edgetune {

// Folds many updates into one. Life: Accumulate and Merge in any order, then
// Finish. Order, shards and threads never change a bit: linear rules sum in
// int64 fixed point (base/fixed_point), all others look at the updates sorted
// by their content. Memory: linear rules (the mean, norm_bound) hold one
// accumulator of 8 bytes a coordinate, whatever the cohort; the others hold
// every update, 4 bytes a coordinate each (combine_rule.h). One instance
// belongs to one thread.
class Aggregator {
 public:
  struct Result {
    ParameterVector mean;   // what the rule makes of the updates
    double weight_sum = 0;  // of all that were accumulated,
    int64_t updates = 0;    // and how many; a rule may look past some
    // Of their energy, where the result is cut to a rank (product_fold.h).
    double kept = 1;
  };

  virtual ~Aggregator() = default;

  // Checks before anything is added; a refused update changes nothing.
  // InvalidArgument: wrong length, NaN or Inf, a coordinate beyond the bound,
  // a weight that is not in (0, cap]. FailedPrecondition: max_updates are held.
  virtual absl::Status Accumulate(std::span<const float> update,
                                  double weight) = 0;
  // Adds what `other` holds; it must be of the same kind and configuration
  // (InvalidArgument). FailedPrecondition: more than max_updates together.
  virtual absl::Status Merge(const Aggregator& other) = 0;
  // FailedPrecondition: nothing accumulated, or fewer updates than the rule
  // needs (got and wanted).
  virtual absl::StatusOr<Result> Finish() const = 0;
};

// What every rule asks of the updates that it takes.
struct WeightedMeanOptions {
  size_t coordinates = 0;
  double bound = 64;      // largest |coordinate|
  double weight_cap = 1;  // largest weight
  // Most updates ever summed. Set it to the clients asked and no higher: the
  // smallest step of the mean grows with it (bound * max_updates / 2^61, over
  // the sum of weight / cap).
  int64_t max_updates = 1024;
  bool operator==(const WeightedMeanOptions&) const = default;
};

// sum(w u) / sum(w): McMahan et al. 2017, FedAvg. Equal weights: pass 1.
absl::StatusOr<std::unique_ptr<Aggregator>> MakeWeightedMean(
    const WeightedMeanOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_AGGREGATOR_H_
