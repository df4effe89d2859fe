#ifndef EDGETUNE_PRIVACY_IDENTITY_ENVELOPE_H_
#define EDGETUNE_PRIVACY_IDENTITY_ENVELOPE_H_

// Signed documents (decisions 1). Signature = Ed25519 over
// lp("edgetune/identity/1/" + use) + lp(role) + lp(payload).

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/signature.h"
#include "protos/edgetune/v1/envelope.pb.h"

namespace edgetune {

// What a document is used as; part of what is signed, so that one kind can
// never be passed off as another.
enum class DocumentUse {
  kPlan,      // role "release"
  kManifest,  // role "round"
  kCard,      // role "round"
  kRoster,    // role "roster": the enrolment authority
  kOverride,  // role "release"
  kReceipt    // role "round"
};
// The role whose key signs it.
std::string_view RoleOf(DocumentUse use);

// Pinned keys of the roles. Immutable value, thread-safe.
struct TrustedKeys {
  std::vector<PublicKey> release;
  std::vector<PublicKey> round;
  std::vector<PublicKey> roster;
};

absl::StatusOr<v1::Envelope> SignDocument(DocumentUse use, std::string payload,
                                          const SigningKey& key);

// PermissionDenied: wrong role, unknown key, bad signature. InvalidArgument:
// no or too large payload, malformed signature list. kIdentity.
absl::Status VerifyDocument(DocumentUse use, const v1::Envelope& envelope,
                            const TrustedKeys& keys);

// FailedPrecondition (kIdentity): version not 1, expired at `now`, or issued
// more than 5 minutes after it (a wrong clock; the hint says so).
absl::Status CheckHeader(const v1::DocumentHeader& header, absl::Time now,
                         std::string_view what);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_ENVELOPE_H_
