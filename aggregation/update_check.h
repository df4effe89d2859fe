#ifndef EDGETUNE_AGGREGATION_UPDATE_CHECK_H_
#define EDGETUNE_AGGREGATION_UPDATE_CHECK_H_

// What every Aggregator asks before it adds anything. Pure functions.

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "aggregation/aggregator.h"

namespace edgetune {

// InvalidArgument: no coordinates, a cap or bound that is not above 0 and
// finite, or no room for a single update.
absl::Status CheckLimits(const WeightedMeanOptions& limits);

// InvalidArgument: another length, NaN or Inf, a coordinate beyond the bound;
// says how many and which is the first.
absl::Status CheckUpdate(std::span<const float> update,
                         const WeightedMeanOptions& limits);

// InvalidArgument: not in (0, cap].
absl::Status CheckWeight(double weight, const WeightedMeanOptions& limits);

// FailedPrecondition: `more` beside the `held` ones exceed max_updates.
absl::Status CheckRoom(int64_t held, int64_t more,
                       const WeightedMeanOptions& limits);

// InvalidArgument, of Merge.
absl::Status CannotMerge();

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_UPDATE_CHECK_H_
