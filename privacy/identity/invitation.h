#ifndef EDGETUNE_PRIVACY_IDENTITY_INVITATION_H_
#define EDGETUNE_PRIVACY_IDENTITY_INVITATION_H_

// How a device comes to a kit whose keys only it has ever held: it gets an
// invitation (a directory with a one-time token), makes its keys beside the
// kit-to-be, trades token and request for a certificate, and finishes the kit.

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/signature.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/envelope.h"

namespace edgetune {

inline constexpr size_t kTokenBytes = 32;
inline constexpr absl::Duration kTokenLife = absl::Hours(24 * 7);

// Holds a secret, the token: never log it.
struct Invitation {
  std::string name;  // of the device
  std::string server_address;
  std::string enroll_address;
  std::string ca_pem;
  TrustedKeys trusted;
  std::string token;  // kTokenBytes bytes
  absl::Time expires;
};

// A new token and its record, and what the device is to get. The record is not
// added to the kit yet. InvalidArgument (kUsage): no name for a device.
struct NewInvitation {
  Invitation invitation;
  TokenRecord record;
};
absl::StatusOr<NewInvitation> MakeInvitation(const Kit& enrollment_kit,
                                             const std::string& name,
                                             absl::Time expires);
// A new directory with files of mode 0600. AlreadyExists (kUsage).
absl::Status WriteInvitation(const std::string& directory,
                             const Invitation& invitation);
// kIdentity; FailedPrecondition: expired at `now`.
absl::StatusOr<Invitation> LoadInvitation(const std::string& directory,
                                          absl::Time now);

// The keys that a device made for itself, and its request for a certificate.
// They lie in <kit>.enrolling until the kit is finished: after a lost answer
// the device asks again with the same ones. Move-only: holds private keys.
struct PendingKit {
  std::string directory;  // of the kit-to-be
  SigningKey identity_key;
  std::string key_pem;  // of TLS; wiped by FinishKit
  std::string request_der;
};
// Makes the keys, or finds those of an earlier try. AlreadyExists (kUsage): the
// kit is there.
absl::StatusOr<PendingKit> PrepareKit(const std::string& directory,
                                      const std::string& name);
// Writes the kit and removes the rest. kIdentity: the certificate does not fit.
absl::Status FinishKit(const Invitation& invitation,
                       const std::string& certificate_pem, absl::Time now,
                       PendingKit* pending);

// What the identity key signs, so that nobody enrols somebody else's key or
// renews without holding both keys: lp(label ‖ "enroll") ‖ lp(SHA-256 of the
// token) ‖ lp(SHA-256 of the request) ‖ lp(identity key), and lp(label ‖
// "renew") ‖ lp(device) ‖ lp(SHA-256 of the request).
std::string EnrollProofBytes(std::string_view token,
                             std::string_view request_der,
                             std::string_view identity_key);
std::string RenewProofBytes(std::string_view device,
                            std::string_view request_der);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_INVITATION_H_
