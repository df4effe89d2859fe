#ifndef EDGETUNE_PRIVACY_IDENTITY_ROSTER_FILE_H_
#define EDGETUNE_PRIVACY_IDENTITY_ROSTER_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/envelope.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/roster.pb.h"

namespace edgetune {

// A roster as its authority published it, verified. Immutable value.
struct PublishedRoster {
  v1::Envelope envelope;  // of the head, as signed
  v1::RosterHead head;
  Roster roster;

  // Whether a device of this name is in it and active.
  bool Admits(std::string_view device_name) const;
};

// The head's signature, fields and dates. Codes as VerifyDocument, CheckHeader
// and ParseRosterHead; kIdentity.
absl::StatusOr<v1::RosterHead> VerifyRosterHead(const v1::Envelope& envelope,
                                                const TrustedKeys& keys,
                                                absl::Time now);

// A whole roster file: its head, and that the entries have the head's root.
// InvalidArgument for a torn or changed file. Without `now` the dates are not
// checked: for the authority itself, which replaces an expired roster.
absl::StatusOr<PublishedRoster> ParseRosterFile(std::string_view bytes,
                                                const TrustedKeys& keys,
                                                std::optional<absl::Time> now);

// A reader's memory of rosters, against one who shows it an old one (a device
// revoked meanwhile, a frozen fleet) or two of one version. Life: made from the
// mark that the reader kept, Accept for each head that it is shown, and mark()
// kept again before anything follows from an accepted head. One thread.
class RosterGuard {
 public:
  // The newest head accepted so far; version 0: none.
  struct Mark {
    uint64_t version = 0;
    Digest payload = {};  // SHA-256 of the head's payload
  };

  explicit RosterGuard(const Mark& mark) : mark_(mark) {}

  // FailedPrecondition: expired, older than the mark, or of its version with
  // other bytes. PermissionDenied, InvalidArgument: as VerifyRosterHead.
  absl::StatusOr<v1::RosterHead> Accept(const v1::Envelope& envelope,
                                        const TrustedKeys& keys,
                                        absl::Time now);
  const Mark& mark() const { return mark_; }

 private:
  Mark mark_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_ROSTER_FILE_H_
