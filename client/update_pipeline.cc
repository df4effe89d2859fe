#include "client/update_pipeline.h"

#include <fmt/format.h>

#include <cmath>

#include "base/parameters.h"

namespace edgetune {

absl::StatusOr<std::string> MakeClearUpdate(std::span<const float> delta,
                                            double bound) {
  for (size_t i = 0; i < delta.size(); ++i) {
    if (!std::isfinite(delta[i])) {
      return absl::AbortedError(
          fmt::format("coordinate {} of the update is not finite: training "
                      "diverged; a smaller lr or grad_clip helps",
                      i));
    }
    if (std::abs(delta[i]) > bound) {
      return absl::AbortedError(
          fmt::format("coordinate {} of the update exceeds the plan's "
                      "clear_bound of {}",
                      i, bound));
    }
  }
  return SerializeParameters(delta);
}

}  // namespace edgetune
