#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_DESCRIPTION_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_DESCRIPTION_H_

// The JSON of kits and invitations; for the sources of this room.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/identity/envelope.h"
#include "privacy/identity/party.h"

namespace edgetune {

// What every kit says in words: whose it is, whom to call, whom to believe.
struct KitDescription {
  Identity identity;
  std::string server_address;
  std::string enroll_address;  // empty: no enrolment service is known
  TrustedKeys trusted;
};

nlohmann::ordered_json ToJson(const KitDescription& description);

// The JSON object of a file of a kit, its schema_version checked.
// InvalidArgument, FailedPrecondition (another version), kIdentity.
absl::StatusOr<nlohmann::json> ReadKitJson(const std::string& directory,
                                           const char* file);
// From the kit.json of a kit.
absl::StatusOr<KitDescription> ReadKitDescription(const std::string& directory);
// From a whole kit.json or invitation.json; `origin` begins its errors.
absl::StatusOr<KitDescription> ParseKitDescription(const nlohmann::json& json,
                                                   const std::string& origin);

// Errors about one file of a kit.
absl::Status BadKitFile(const std::string& origin, const std::string& problem);
absl::StatusOr<std::string> KitText(const nlohmann::json& json, const char* key,
                                    const std::string& origin);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_DESCRIPTION_H_
