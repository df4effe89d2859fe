#ifndef EDGETUNE_PROTOS_MASKING_H_
#define EDGETUNE_PROTOS_MASKING_H_

// What masking needs and a plan determines: pure functions, thread-safe.
// Coordinator and clients compute them alike, and M covers the plan's digest,
// so nobody sends or checks them.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

enum class LaneUse : uint8_t {
  kWeight = 1,   // min(examples, cap) / cap, in (0, 1]
  kNll = 2,      // summed loss of the incoming adapter, in nats
  kTokens = 3,   // tokens behind it
  kClamped = 4,  // share of coordinates that were clamped, in [0, 1]
};

// Lanes of a masked vector, in order: two canaries, `lanes`, coordinates.
struct MaskedShape {
  struct Lane {
    LaneUse use;
    double bound;  // largest value of one client
    bool operator==(const Lane&) const = default;
  };

  uint32_t bits = 32;  // of the ring: 16, 20, 24 or 32
  uint32_t n_min = 4;  // smallest cohort of a session
  uint32_t n_max = 4;  // largest
  double bound = 0;    // largest absolute coordinate (B)
  std::vector<Lane> lanes;
  size_t coordinates = 0;

  size_t size() const { return 2 + lanes.size() + coordinates; }
  // ceil(size * bits / 8): lanes packed little-endian, padding bits zero.
  size_t byte_size() const { return (size() * bits + 7) / 8; }
  // (2^(bits-1) - 1 - n_max) / (n_max * bound): n_max honest values, each
  // rounded up, never leave the ring.
  double ScaleOf(double lane_bound) const;
  bool operator==(const MaskedShape&) const = default;
};

// InvalidArgument: a round that the plan does not have. FailedPrecondition:
// the plan does not mask.
absl::StatusOr<MaskedShape> MaskedShapeOf(const v1::TaskPlan& plan,
                                          uint32_t round,
                                          v1::RoundManifest::Kind kind);

// t = floor(2n/3) + 1: two survivor sets or both kinds of shares of one client
// would need t > (n + c)/2 of n members with c < n/3 colluders twice.
constexpr uint32_t SecAggThreshold(uint32_t n) { return 2 * n / 3 + 1; }

// Largest group of one session, and the floor of n_min.
inline constexpr uint32_t kSecAggLargestGroup = 300;
inline constexpr uint32_t kSecAggSmallestCohort = 4;

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_MASKING_H_
