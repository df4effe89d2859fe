#ifndef EDGETUNE_CLIENT_MASKED_ASSIGNMENT_H_
#define EDGETUNE_CLIENT_MASKED_ASSIGNMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/envelope.h"
#include "privacy/secagg/member.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "protos/masking.h"

namespace edgetune {

// What a device knows of a masked assignment once its documents were verified.
// What it must compare with its own past is in `history` (SessionStore).
struct MaskedTerms {
  // Digests of what this device compares with what it saw before.
  struct History {
    std::string run_id;
    uint64_t roster_version = 0;
    std::vector<std::string> cards;  // by version, 32 bytes each
    std::string base_digest;
    std::string adapter_digest;
    v1::RoundManifest::Kind kind = v1::RoundManifest::TRAIN;
    // Sessions of this device from the adapter, overrides included.
    uint32_t allowed = 1;
  };

  Digest manifest = {};  // M
  MaskedShape shape;
  secagg::RosterRoot roster;
  History history;
};

// Checks, in this order: masking terms where the plan masks (MANIFEST_POLICY),
// the roster head (BAD_ROSTER), the chain of cards and that the adapter is its
// head (REPLAY), overrides (BAD_SIGNATURE). `n_min` is the device's own floor
// (MANIFEST_POLICY). Errors carry an abort code.
absl::StatusOr<MaskedTerms> VerifyMaskedTerms(const v1::Assignment& assignment,
                                              const v1::TaskPlan& plan,
                                              const TrustedKeys& keys,
                                              uint32_t n_min, absl::Time now);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_MASKED_ASSIGNMENT_H_
