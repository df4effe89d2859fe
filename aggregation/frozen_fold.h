#ifndef EDGETUNE_AGGREGATION_FROZEN_FOLD_H_
#define EDGETUNE_AGGREGATION_FROZEN_FOLD_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "aggregation/aggregator.h"
#include "aggregation/update_fold.h"
#include "base/parameters.h"

namespace edgetune {

// The adapter that a round's updates start from: its last `frozen` rank slices
// F_B F_A stand for what was added to the base, updates are of those before.
struct FrozenFoldStart {
  ParameterLayout layout;   // A, then B of each module, of one rank
  int64_t frozen = 0;       // slices; fewer than the rank, at least 1
  ParameterVector adapter;  // of this layout
  // Factors that the next round begins with in place of the updates' mean, laid
  // out as an update; empty: none.
  ParameterVector anew = {};
};

// Each module's next trained factors B' A' are the weighted means of the
// devices' B_i and A_i (FedEx-LoRA: Singhal et al. 2024, section 4), or `anew`
// (FLoRA: Wang et al. 2024, section 3.2, with B' = 0); its next frozen slices
// are the ones of that rank nearest (product_mean.h) to
//   F_B F_A + sum w_i B_i A_i / sum w_i - B' A',
// so that all slices together compute what the mean of the devices' adapters
// does, but for what the frozen rank cuts off and for rounding to float32.
// Slices whose singular value is rounding alone are zeros. B_i and A_i are the
// incoming ones and update i, both cut to its rank slices.
//
// Finish gives the way from `adapter` over all slices; Result::kept is the
// share of the energy of that matrix in the frozen slices. Holds every update.
// InvalidArgument: sizes that do not go together.
absl::StatusOr<std::unique_ptr<UpdateFold>> MakeFrozenFold(
    const WeightedMeanOptions& limits, FrozenFoldStart start);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_FROZEN_FOLD_H_
