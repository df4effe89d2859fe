#ifndef EDGETUNE_AGGREGATION_PRODUCT_FOLD_H_
#define EDGETUNE_AGGREGATION_PRODUCT_FOLD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/aggregator.h"
#include "aggregation/update_fold.h"
#include "base/parameters.h"

namespace edgetune {

// FlexLoRA (product_mean.h): each module's factors become those of its rank
// nearest to sum w_i B_i A_i / sum w_i, where B_i and A_i are the incoming ones
// and update i, both cut to its rank slices. Finish gives the way there from
// `incoming`, which has `layout`: A, then B of each module, as an adapter has
// them; Result::kept is the share of the mean's energy in those factors.
// Holds every update. InvalidArgument: limits or `incoming` of another size.
absl::StatusOr<std::unique_ptr<UpdateFold>> MakeProductFold(
    const WeightedMeanOptions& limits, const ParameterLayout& layout,
    ParameterVector incoming);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_PRODUCT_FOLD_H_
