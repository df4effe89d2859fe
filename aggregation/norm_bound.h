#ifndef EDGETUNE_AGGREGATION_NORM_BOUND_H_
#define EDGETUNE_AGGREGATION_NORM_BOUND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/combine_rule.h"

namespace edgetune {

// CombineRule::kNormBound; MakeAggregator has checked the options. Each update
// is shortened on its own and then summed as the weighted mean does, in the
// memory of one accumulator and as exactly. InvalidArgument: limits that fixed
// point cannot hold.
absl::StatusOr<std::unique_ptr<Aggregator>> MakeNormBound(
    const CombineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_NORM_BOUND_H_
