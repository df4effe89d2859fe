#ifndef EDGETUNE_AGGREGATION_HELD_UPDATES_H_
#define EDGETUNE_AGGREGATION_HELD_UPDATES_H_

#include <memory>

#include "aggregation/combine_rule.h"

namespace edgetune {

// The rules that need all updates at once: holds a copy of each (held_set.h),
// and sorts them by content before the rule sees them, which settles ties too.
// Memory: 4 bytes a coordinate and update, and while it finishes at most 16
// more a coordinate. MakeAggregator has checked the options; the rule is
// neither kMean nor kNormBound.
std::unique_ptr<Aggregator> MakeHeldUpdates(const CombineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_HELD_UPDATES_H_
