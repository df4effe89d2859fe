#ifndef EDGETUNE_AGGREGATION_HELD_SET_H_
#define EDGETUNE_AGGREGATION_HELD_SET_H_

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/aggregator.h"
#include "base/parameters.h"

namespace edgetune {

struct HeldUpdate {
  ParameterVector values;
  double weight = 0;
  int64_t rank = 0;  // UpdateTerms::rank, where it counts
  // By content: coordinates first. None holds a NaN. Zeros of both signs are
  // equal here, and so are sums of them that begin at 0.
  auto operator<=>(const HeldUpdate&) const = default;
};

// The updates of a round for rules that need all of them at once: a copy of
// each, 4 bytes a coordinate. One thread.
class HeldSet {
 public:
  explicit HeldSet(const WeightedMeanOptions& limits) : limits_(limits) {}

  // Errors of Aggregator::Accumulate; after one nothing was added.
  absl::Status Add(std::span<const float> update, double weight,
                   int64_t rank = 0);
  // FailedPrecondition: more than max_updates together. `other` may be this.
  absl::Status Merge(const HeldSet& other);

  size_t size() const { return held_.size(); }
  const WeightedMeanOptions& limits() const { return limits_; }
  // Into this set, by content: whatever order they came in.
  std::vector<const HeldUpdate*> Sorted() const;

 private:
  const WeightedMeanOptions limits_;
  std::vector<HeldUpdate> held_;
};

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_HELD_SET_H_
