#ifndef EDGETUNE_PRIVACY_SECAGG_MEMBER_H_
#define EDGETUNE_PRIVACY_SECAGG_MEMBER_H_

// What both parties of a masking session share.

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "protos/masking.h"

namespace edgetune::secagg {

// The tree that membership proofs lead to, as the manifest names it.
struct RosterRoot {
  Digest root = {};
  uint64_t leaves = 0;
};

// A status that carries an abort code (an absl payload), and back.
absl::Status AbortError(v1::AbortCode code, std::string_view what);
// ABORT_UNSPECIFIED: the status carries none.
v1::AbortCode AbortCodeOf(const absl::Status& status);
bool IsKnownAbort(v1::AbortCode code);

// What an accepted advertisement becomes. Checks, in order: lengths (LENGTH),
// M equal (REPLAY), signature by the member's identity key (BAD_SIGNATURE).
absl::StatusOr<v1::CohortEntry> CheckAdvertisement(
    const Digest& manifest, const RosterMember& member,
    const RosterProof& proof, const v1::AdvertiseKeys& message);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_MEMBER_H_
