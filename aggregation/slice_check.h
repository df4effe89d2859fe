#ifndef EDGETUNE_AGGREGATION_SLICE_CHECK_H_
#define EDGETUNE_AGGREGATION_SLICE_CHECK_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

namespace edgetune {

// How many rank slices an update has that claims `rank` (0: all, `most`).
// `slices` are those of its coordinates (base/rank_slices.h); another length is
// the aggregator's to refuse. InvalidArgument: more than `most`, or a
// coordinate beyond them that is not zero. Pure.
absl::StatusOr<uint32_t> CheckSlices(std::span<const float> update,
                                     std::span<const uint32_t> slices,
                                     int64_t rank, uint32_t most);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_SLICE_CHECK_H_
