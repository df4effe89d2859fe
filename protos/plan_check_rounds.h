#ifndef EDGETUNE_PROTOS_PLAN_CHECK_ROUNDS_H_
#define EDGETUNE_PROTOS_PLAN_CHECK_ROUNDS_H_

// Parts of CheckPlan: what becomes of a round's updates. Each adds its checks
// to the list; nobody but plan_check.cc calls them.

#include "protos/edgetune/v1/plan.pb.h"
#include "protos/field_checks.h"

namespace edgetune {

// rounds.aggregator, whether it can be masked, what belongs to its rule, and
// whether rounds.quorum is enough for it. After the counts of clients.
void CheckAggregator(const v1::TaskPlan& plan, FieldChecks& check);
void CheckServerStep(const v1::RoundsSpec& rounds, FieldChecks& check);
void CheckSecAgg(const v1::TaskPlan& plan, FieldChecks& check);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_PLAN_CHECK_ROUNDS_H_
