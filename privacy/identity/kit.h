#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_H_

// Kits: what each party knows and holds, as a directory of PEM files and one
// kit.json. Provisioning makes them; a device may also make its own from an
// invitation (invitation.h).

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/envelope.h"
#include "privacy/identity/party.h"

namespace edgetune {

// A loaded kit. Holds private keys: never log it.
struct Kit {
  Identity identity;
  std::string directory;       // it was read from there; "": made in memory
  std::string server_address;  // host:port that clients dial
  std::string enroll_address;  // of the enrolment service; "": none is known
  std::string ca_pem;
  std::string certificate_pem;
  std::string key_pem;
  TrustedKeys trusted;
  // A device's: its identity key (Ed25519), which signs its words in masked
  // rounds and is bound to its name by the roster.
  std::optional<std::string> identity_key_pem;
  // Only in the server's kit: the round key. Only in the operator's: where the
  // release key lies (a path; it is read when a plan is signed).
  std::optional<std::string> round_key_pem;
  std::optional<std::string> release_key_path;
};

// Reads and checks a kit: files present, keys readable and fitting, certificate
// issued by the CA, in date at `now`, URI of the role wanted. kIdentity.
absl::StatusOr<Kit> LoadKit(const std::string& directory, PartyRole role,
                            absl::Time now);

// What any party's kit says without its keys and certificates: enough to check
// what others signed, whether or not it still opens a connection. kIdentity.
struct KitFacts {
  Identity identity;
  TrustedKeys trusted;
};
absl::StatusOr<KitFacts> ReadKitFacts(const std::string& directory);

// Name of the file with key and certificate inside a kit's directory, for TLS
// libraries that follow its changes, and of the CA's certificate.
std::string TlsPathOf(const Kit& kit);
std::string CaPathOf(const Kit& kit);

// Puts a new key and certificate into a kit on disk and into `kit`; a reader
// sees the old pair or the new. PermissionDenied (kIdentity), and nothing
// changes, unless they fit each other, the CA, the date and the kit's identity.
absl::Status ReplaceCertificate(const std::string& key_pem,
                                const std::string& certificate_pem,
                                absl::Time now, Kit* kit);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_H_
