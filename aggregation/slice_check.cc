#include "aggregation/slice_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"

namespace edgetune {

absl::StatusOr<uint32_t> CheckSlices(std::span<const float> update,
                                     std::span<const uint32_t> slices,
                                     int64_t rank, uint32_t most) {
  if (rank < 0 || rank > most) {
    return absl::InvalidArgumentError(
        fmt::format("an update of rank {}, wanted 1 to {}", rank, most));
  }
  const uint32_t count = rank == 0 ? most : static_cast<uint32_t>(rank);
  const size_t known = std::min(update.size(), slices.size());
  for (size_t i = 0; i < known; ++i) {
    if (slices[i] < count || update[i] == 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("coordinate {} of an update of rank {} is not zero, but is "
                    "of slice {}",
                    i, count, slices[i] + 1));
  }
  return count;
}

}  // namespace edgetune
