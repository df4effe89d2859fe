#ifndef EDGETUNE_PRIVACY_SECAGG_MEMBER_H_
#define EDGETUNE_PRIVACY_SECAGG_MEMBER_H_

// What both parties of a masking session share. Pure functions, thread-safe.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/secagg.pb.h"

namespace edgetune::secagg {

// Exact lengths of what messages carry.
inline constexpr size_t kKeyBytes = 32;  // X25519 and Ed25519 public keys
inline constexpr size_t kNonceBytes = 16;
inline constexpr size_t kSignatureBytes = 64;
inline constexpr size_t kDigestBytes = 32;
inline constexpr size_t kShareBytes = 32;
// GCM nonce 12, two sealed shares, tag 16.
inline constexpr size_t kCiphertextBytes = 92;

// The tree that membership proofs lead to, as the manifest names it.
struct RosterRoot {
  Digest root = {};
  uint64_t leaves = 0;
};

// A status that carries an abort code (an absl payload), and back.
absl::Status AbortError(v1::AbortCode code, std::string_view what);
// `status` with the code's name before its message; status code, kind and hint
// stay. OK stays OK.
absl::Status WithAbortCode(v1::AbortCode code, const absl::Status& status);
// ABORT_UNSPECIFIED: the status carries none.
v1::AbortCode AbortCodeOf(const absl::Status& status);
// False for ABORT_UNSPECIFIED and for numbers that this version lacks.
bool IsKnownAbort(v1::AbortCode code);

// LENGTH unless `field` has exactly `size` bytes; `what` names it.
absl::Status CheckSize(std::string_view field, size_t size,
                       std::string_view what);
// The session that a message names: LENGTH, or REPLAY for another one.
absl::Status CheckSession(const Digest& session, std::string_view field);
// A digest as the bytes that messages carry.
std::string BytesOf(const Digest& digest);

// Whether agreeing on a secret with this X25519 key of 32 bytes leads to the
// all-zero result, whatever the other key (RFC 7748, section 6.1).
bool IsOfLowOrder(std::string_view key);

// The entry that a coordinator puts into a cohort, unchecked.
v1::CohortEntry MakeEntry(const RosterMember& member, const RosterProof& proof,
                          const v1::AdvertiseKeys& message);

// What an accepted advertisement becomes. Checks, in order: the member is
// active (BAD_ROSTER), lengths (LENGTH), M equal (REPLAY), signature by the
// member's identity key (BAD_SIGNATURE), two different keys (DUP_KEY), neither
// of low order (COHORT_INVALID): every honest member would leave a cohort that
// holds one that is not so, and blame nobody.
absl::StatusOr<v1::CohortEntry> CheckAdvertisement(
    const Digest& manifest, const RosterMember& member,
    const RosterProof& proof, const v1::AdvertiseKeys& message);

// What an entry of a cohort claims by itself. Lengths come first (LENGTH): the
// others rely on them.
absl::Status CheckEntrySizes(const v1::CohortEntry& entry);
ClientId IdOf(const v1::CohortEntry& entry);
// An enrolled and active member, by the entry's own proof.
bool IsInRoster(const v1::CohortEntry& entry, const RosterRoot& roster);
// Its identity key signed its two public keys for this manifest.
bool HasSignedKeys(const v1::CohortEntry& entry, const Digest& manifest);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_MEMBER_H_
