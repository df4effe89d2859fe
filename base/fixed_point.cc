#include "base/fixed_point.h"

#include <fmt/format.h>

#include <cmath>

namespace edgetune {

absl::StatusOr<FixedPoint> FixedPoint::Make(int bits, double bound,
                                            int64_t max_terms) {
  if (bits < 8 || bits > 62 || !(bound > 0) || !std::isfinite(bound) ||
      max_terms < 1) {
    return absl::InvalidArgumentError(
        fmt::format("fixed point of {} bits, bound {}, {} terms is not "
                    "possible",
                    bits, bound, max_terms));
  }
  const int64_t top = (int64_t{1} << (bits - 1)) - 1;
  if (max_terms >= top) {
    return absl::InvalidArgumentError(
        fmt::format("{} terms do not fit {} bits", max_terms, bits));
  }
  const double scale = static_cast<double>(top - max_terms) /
                       (static_cast<double>(max_terms) * bound);
  return FixedPoint(bound, scale);
}

int64_t FixedPoint::Encode(double value) const {
  return std::llround(value * scale_);
}

}  // namespace edgetune
