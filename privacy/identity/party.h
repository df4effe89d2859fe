#ifndef EDGETUNE_PRIVACY_IDENTITY_PARTY_H_
#define EDGETUNE_PRIVACY_IDENTITY_PARTY_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

enum class PartyRole { kServer, kOperator, kDevice, kEnrollment };

// Who a verified certificate says its holder is.
struct Identity {
  PartyRole role;
  std::string id;  // [a-z0-9._-]{1,64}
};

std::string_view PartyRoleName(PartyRole role);  // "device"
std::optional<PartyRole> PartyRoleNamed(std::string_view name);
bool IsPartyId(std::string_view id);  // [a-z0-9._-]{1,64}, not "." or ".."

std::string IdentityUri(const Identity& identity);  // edgetune://device/d1
// PermissionDenied: no, malformed or more than one edgetune:// URI.
absl::StatusOr<Identity> IdentityFromUris(const std::vector<std::string>& uris);

// The host of "host:port" or "[v6]:port"; nullopt when it is neither.
std::optional<std::string> HostOf(std::string_view address);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_PARTY_H_
