#include "client/update_pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "privacy/secagg/encoding.h"

namespace edgetune {

absl::Status CheckFinite(std::span<const float> values, std::string_view what) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    return absl::DataLossError(
        fmt::format("coordinate {} of {} is not finite", i, what));
  }
  return absl::OkStatus();
}

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

absl::StatusOr<secagg::RingVector> MakeMaskedInput(const MaskedTerms& terms,
                                                   double weight_cap,
                                                   const Contribution& from,
                                                   RandomSource& random) {
  secagg::PlainInput input;
  input.coordinates = from.delta;
  for (const MaskedShape::Lane& lane : terms.shape.lanes) {
    double& value = input.lanes[lane.use];
    switch (lane.use) {
      case LaneUse::kWeight:
        value = input.weight = std::min(from.weight, weight_cap) / weight_cap;
        break;
      case LaneUse::kNll:
        value = std::clamp(from.nll_sum, 0.0, lane.bound);
        break;
      case LaneUse::kTokens:
        value = std::min(static_cast<double>(from.tokens), lane.bound);
        break;
      case LaneUse::kClamped:
        value =
            static_cast<double>(secagg::CountClamped(terms.shape, from.delta)) /
            static_cast<double>(from.delta.size());
        break;
    }
  }
  auto vector = secagg::Quantize(terms.shape, input,
                                 secagg::CanaryOf(terms.manifest), random);
  if (!absl::IsInvalidArgument(vector.status())) return vector;
  return absl::AbortedError(
      fmt::format("the update cannot be masked: {}; a smaller lr or grad_clip "
                  "helps when training diverged",
                  std::string(vector.status().message())));
}

}  // namespace edgetune
