#ifndef EDGETUNE_PRIVACY_IDENTITY_RENEWAL_H_
#define EDGETUNE_PRIVACY_IDENTITY_RENEWAL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/party.h"

namespace edgetune {

// A kit and its certificate, good or not.
struct KitStatus {
  Identity identity;
  std::string server_address;
  std::string enroll_address;  // "": none is known
  absl::Time not_before;
  absl::Time not_after;
};

// What lies in the directory; an expired certificate is no error. kIdentity.
absl::StatusOr<KitStatus> ReadKitStatus(const std::string& directory);

// Gives any kit of one provisioning a new TLS key and certificate, whether or
// not its old one, or that of the enrolment kit, is still in date. All other
// keys stay as they are; whoever has the kit open sees the old pair or the new.
// `life` from `now`, at most the CA's. Returns the new status.
// PermissionDenied (kIdentity): the kits have different CAs. NotFound,
// PermissionDenied (kIdentity): a device that the roster does not name, or
// names as revoked. InvalidArgument (kUsage): `life`.
absl::StatusOr<KitStatus> RenewKit(const std::string& directory,
                                   const std::string& enrollment_kit,
                                   absl::Duration life, absl::Time now);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_RENEWAL_H_
