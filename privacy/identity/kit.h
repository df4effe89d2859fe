#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_H_

// Kits: what provisioning hands to each party, as a directory of PEM files and
// one kit.json (formats below). Kits of this version hold the party's private
// key and say so; enrolment with tokens will replace that.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/envelope.h"

namespace edgetune {

enum class PartyRole { kServer, kOperator, kDevice };

// Who a verified certificate says its holder is.
struct Identity {
  PartyRole role;
  std::string id;  // [a-z0-9._-]{1,64}
};

std::string_view PartyRoleName(PartyRole role);     // "device"
std::string IdentityUri(const Identity& identity);  // edgetune://device/d1
// PermissionDenied: no, malformed or more than one edgetune:// URI.
absl::StatusOr<Identity> IdentityFromUris(const std::vector<std::string>& uris);

// A loaded kit. Holds a private key: never log it.
struct Kit {
  Identity identity;
  std::string server_address;  // host:port that clients dial
  std::string ca_pem;
  std::string certificate_pem;
  std::string key_pem;
  TrustedKeys trusted;
  // Only in the server's kit: the round key. Only in the operator's: where the
  // release key lies (a path; it is read when a plan is signed).
  std::optional<std::string> round_key_pem;
  std::optional<std::string> release_key_path;
};

struct ProvisionOptions {
  std::string directory;  // made; must not hold kits already
  std::string server_address = "localhost:7443";
  std::vector<std::string> device_ids;
  absl::Time now;
  absl::Duration server_life = absl::Hours(24 * 365);
  absl::Duration device_life = absl::Hours(24 * 30);
};

// Writes <directory>/{ca,server,operator,devices/<id>}/ with mode 0600 files
// in 0700 directories; the whole directory appears or none of it. ca/ holds
// the CA key and belongs off-line. AlreadyExists.
absl::Status Provision(const ProvisionOptions& options);

// Reads and checks a kit: files present, key fits certificate, certificate
// issued by the CA, in date at `now`, URI of the role wanted. kIdentity.
absl::StatusOr<Kit> LoadKit(const std::string& directory, PartyRole role,
                            absl::Time now);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_H_
