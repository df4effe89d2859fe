#include "aggregation/update_check.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace edgetune {

absl::Status CheckLimits(const WeightedMeanOptions& limits) {
  auto positive = [](double x) { return x > 0 && std::isfinite(x); };
  if (limits.coordinates > 0 && positive(limits.weight_cap) &&
      positive(limits.bound) && limits.max_updates > 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} updates of {} coordinates, bound {}, weight cap {} cannot be "
      "combined; wanted each above 0 and finite",
      limits.max_updates, limits.coordinates, limits.bound, limits.weight_cap));
}

absl::Status CheckUpdate(std::span<const float> update,
                         const WeightedMeanOptions& limits) {
  if (update.size() != limits.coordinates) {
    return absl::InvalidArgumentError(
        fmt::format("update has {} coordinates, wanted {}", update.size(),
                    limits.coordinates));
  }
  // A comparison with NaN is false, so this counts NaN, Inf and too large.
  size_t bad = 0;
  for (float u : update) bad += !(std::fabs(u) <= limits.bound);
  if (bad == 0) return absl::OkStatus();
  size_t first = 0;
  while (std::fabs(update[first]) <= limits.bound) ++first;
  return absl::InvalidArgumentError(fmt::format(
      "update has {} unusable coordinates; coordinate {} is {}", bad, first,
      std::isfinite(update[first])
          ? fmt::format("beyond the bound {}", limits.bound)
          : std::string("not finite")));
}

absl::Status CheckWeight(double weight, const WeightedMeanOptions& limits) {
  if (weight > 0 && weight <= limits.weight_cap) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("weight is {}, wanted more than 0 and at most {}", weight,
                  limits.weight_cap));
}

absl::Status CheckRoom(int64_t held, int64_t more,
                       const WeightedMeanOptions& limits) {
  if (more <= limits.max_updates - held) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} updates are held, {} more exceed the planned {}", held,
                  more, limits.max_updates));
}

absl::Status CannotMerge() {
  return absl::InvalidArgumentError(
      "cannot merge aggregators of different kinds or configurations");
}

}  // namespace edgetune
