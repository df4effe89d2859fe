#ifndef EDGETUNE_AGGREGATION_PLAN_STRATEGY_H_
#define EDGETUNE_AGGREGATION_PLAN_STRATEGY_H_

// What a plan says of combining and stepping, as this room's options. Pure
// functions. The plan was accepted by CheckPlan; InvalidArgument otherwise.

#include "absl/status/statusor.h"
#include "aggregation/combine_rule.h"
#include "aggregation/server_optimizer.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// For one TRAIN round. InvalidArgument: `round` is none.
absl::StatusOr<CombineOptions> CombineOptionsOf(const v1::TaskPlan& plan,
                                                uint32_t round);

absl::StatusOr<ServerOptimizerOptions> ServerOptimizerOptionsOf(
    const v1::RoundsSpec& rounds);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_PLAN_STRATEGY_H_
