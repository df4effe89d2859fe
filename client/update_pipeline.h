#ifndef EDGETUNE_CLIENT_UPDATE_PIPELINE_H_
#define EDGETUNE_CLIENT_UPDATE_PIPELINE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "client/masked_assignment.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/secagg/masked_vector.h"

namespace edgetune {

// What leaves the device, from the trained delta. Pure, thread-safe.

// In clear mode: the checks that the coordinator will make, then little-endian
// float32 in layout order, which lie where the delta does; the coordinator sees
// them. Aborted: a coordinate is not finite or beyond `bound` (the message says
// which, not what it is).
absl::StatusOr<std::span<const uint8_t>> MakeClearUpdate(
    std::span<const float> delta, double bound);

// What a session has to contribute under masking.
struct Contribution {
  ParameterVector delta;  // empty: an evaluation
  double weight = 0;      // labelled examples, at most the plan's cap
  double nll_sum = 0;     // of the incoming adapter
  uint64_t tokens = 0;
};

// Under masking: clamp -> weight -> fixed point with stochastic rounding; the
// session then adds the masks. Every call rounds anew. Aborted: a coordinate
// is not finite. Internal: no randomness.
absl::StatusOr<secagg::RingVector> MakeMaskedInput(const MaskedTerms& terms,
                                                   double weight_cap,
                                                   const Contribution& from,
                                                   RandomSource& random);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_UPDATE_PIPELINE_H_
