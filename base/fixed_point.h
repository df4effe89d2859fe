#ifndef EDGETUNE_BASE_FIXED_POINT_H_
#define EDGETUNE_BASE_FIXED_POINT_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace edgetune {

// Signed fixed point with a scale derived from bounds alone, so that sums of
// up to `max_terms` values in [-bound, bound] never leave `bits` bits. Sums of
// such integers are exact: order, threads and shards never change a result.
//
// scale S = (2^(bits-1) - 1 - max_terms) / (max_terms * bound), hence
// |sum| <= max_terms * (bound * S + 1) <= 2^(bits-1) - 1
// (secure-aggregation design, section 5 point 3). Immutable value.
class FixedPoint {
 public:
  // bits in [8, 62], bound > 0 and finite, max_terms >= 1 and small enough
  // for a scale > 0; else InvalidArgument.
  static absl::StatusOr<FixedPoint> Make(int bits, double bound,
                                         int64_t max_terms);

  double bound() const { return bound_; }
  double scale() const { return scale_; }

  // Rounds half away from zero. |value| <= bound is the caller's duty.
  int64_t Encode(double value) const;
  double Decode(int64_t sum) const { return static_cast<double>(sum) / scale_; }

 private:
  FixedPoint(double bound, double scale) : bound_(bound), scale_(scale) {}

  double bound_;
  double scale_;
};

}  // namespace edgetune

#endif  // EDGETUNE_BASE_FIXED_POINT_H_
