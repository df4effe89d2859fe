#ifndef EDGETUNE_CLIENT_ASSIGNMENT_H_
#define EDGETUNE_CLIENT_ASSIGNMENT_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_session.h"
#include "client/masked_assignment.h"
#include "config/daemon_files.h"
#include "privacy/identity/envelope.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// An assignment whose signatures, dates, digests and limits all hold.
struct VerifiedAssignment {
  SessionId id;
  v1::TaskPlan plan;
  v1::RoundManifest manifest;
  bool train = false;                  // else EVAL
  std::optional<MaskedTerms> masking;  // present where the plan masks
  // Where devices keep a vector of their own: its last session in the adapter,
  // as the coordinator has it. Not signed; nothing but OwnVectorStore reads it.
  std::optional<SessionId> counted;
};

// Which session an assignment says it is, before anything is verified: only
// good for answering it and for telling a repetition from a new one.
SessionId ClaimedId(const v1::Assignment& assignment);

// Trusts nothing the coordinator says: the plan must be signed by a release
// key, the manifest by a round key and for this plan, both in date, the round
// one of the plan's, the base digest that of its parts, the population ours;
// where the plan masks, also what VerifyMaskedTerms wants. `file`: what this
// device serves and its policy. PermissionDenied, InvalidArgument,
// FailedPrecondition. Pure, thread-safe.
absl::StatusOr<VerifiedAssignment> VerifyAssignment(
    const v1::Assignment& assignment, const TrustedKeys& keys,
    const ClientFile& file, absl::Time now);

v1::SessionKey KeyOf(const SessionId& id);
SessionId IdOf(const v1::SessionKey& key);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_ASSIGNMENT_H_
