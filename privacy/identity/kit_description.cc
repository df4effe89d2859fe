#include "privacy/identity/kit_description.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

constexpr size_t kMaxKeys = 16;
constexpr char kHint[] =
    "make kits with `edgetune provision` and give this program one of them";

absl::StatusOr<std::vector<PublicKey>> KeysOf(const nlohmann::json& json,
                                              const char* key,
                                              const std::string& origin) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->empty() ||
      found->size() > kMaxKeys) {
    return BadKitFile(origin, fmt::format("'{}' is not a list of 1 to {} keys",
                                          key, kMaxKeys));
  }
  std::vector<PublicKey> keys;
  for (const nlohmann::json& entry : *found) {
    std::string raw;
    if (!entry.is_string() ||
        !absl::Base64Unescape(entry.get<std::string>(), &raw)) {
      return BadKitFile(origin, fmt::format("'{}' holds no base64 key", key));
    }
    auto parsed = PublicKey::FromRaw(raw);
    if (!parsed.ok()) {
      return BadKitFile(
          origin,
          fmt::format("'{}': {}", key, std::string(parsed.status().message())));
    }
    keys.push_back(*std::move(parsed));
  }
  return keys;
}

absl::StatusOr<Identity> IdentityOf(const nlohmann::json& json,
                                    const std::string& origin) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string role, KitText(json, "role", origin));
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, KitText(json, "id", origin));
  const auto known = PartyRoleNamed(role);
  if (!known.has_value() || !IsPartyId(id)) {
    return BadKitFile(origin,
                      fmt::format("'{}' of role '{}' is no party", id, role));
  }
  return Identity{*known, std::move(id)};
}

absl::Status CheckAddress(const std::string& address, const char* key,
                          const std::string& origin) {
  if (HostOf(address).has_value()) return absl::OkStatus();
  return BadKitFile(origin,
                    fmt::format("{} '{}' is not host:port", key, address));
}

nlohmann::ordered_json KeysJson(const std::vector<PublicKey>& keys) {
  auto json = nlohmann::ordered_json::array();
  for (const PublicKey& key : keys) {
    json.push_back(absl::Base64Escape(key.raw()));
  }
  return json;
}

}  // namespace

absl::Status BadKitFile(const std::string& origin, const std::string& problem) {
  return Annotate(
      absl::InvalidArgumentError(fmt::format("{}: {}", origin, problem)),
      ErrorKind::kIdentity, kHint);
}

absl::StatusOr<std::string> KitText(const nlohmann::json& json, const char* key,
                                    const std::string& origin) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    return BadKitFile(origin, fmt::format("'{}' is not a text", key));
  }
  return found->get<std::string>();
}

nlohmann::ordered_json ToJson(const KitDescription& description) {
  nlohmann::ordered_json json;
  json["schema_version"] = kKitVersion;
  json["role"] = std::string(PartyRoleName(description.identity.role));
  json["id"] = description.identity.id;
  json["server"] = description.server_address;
  if (!description.enroll_address.empty()) {
    json["enroll"] = description.enroll_address;
  }
  json["release_keys"] = KeysJson(description.trusted.release);
  json["round_keys"] = KeysJson(description.trusted.round);
  json["roster_keys"] = KeysJson(description.trusted.roster);
  return json;
}

absl::StatusOr<nlohmann::json> ReadKitJson(const std::string& directory,
                                           const char* file) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadKitFile(directory, file));
  const std::string origin = fmt::format("{}/{}", directory, file);
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return BadKitFile(origin, "not a JSON object");
  const auto version = json.find("schema_version");
  if (version == json.end() || !version->is_number_integer()) {
    return BadKitFile(origin, "schema_version is not a whole number");
  }
  if (*version == kKitVersion) return json;
  return Annotate(
      absl::FailedPreconditionError(
          fmt::format("{} is of version {}, this program reads version {}",
                      origin, version->dump(), kKitVersion)),
      ErrorKind::kIdentity,
      *version < kKitVersion
          ? "an older edgetune made this kit, without a key for rosters and "
            "masked rounds: provision again and replace all kits"
          : "update this program");
}

absl::StatusOr<KitDescription> ReadKitDescription(
    const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(const nlohmann::json json,
                            ReadKitJson(directory, kKitFile));
  return ParseKitDescription(json, fmt::format("{}/{}", directory, kKitFile));
}

absl::StatusOr<KitDescription> ParseKitDescription(const nlohmann::json& json,
                                                   const std::string& origin) {
  KitDescription result;
  EDGETUNE_ASSIGN_OR_RETURN(result.identity, IdentityOf(json, origin));
  EDGETUNE_ASSIGN_OR_RETURN(result.server_address,
                            KitText(json, "server", origin));
  EDGETUNE_RETURN_IF_ERROR(
      CheckAddress(result.server_address, "server", origin));
  if (json.contains("enroll")) {
    EDGETUNE_ASSIGN_OR_RETURN(result.enroll_address,
                              KitText(json, "enroll", origin));
    EDGETUNE_RETURN_IF_ERROR(
        CheckAddress(result.enroll_address, "enroll", origin));
  }
  EDGETUNE_ASSIGN_OR_RETURN(result.trusted.release,
                            KeysOf(json, "release_keys", origin));
  EDGETUNE_ASSIGN_OR_RETURN(result.trusted.round,
                            KeysOf(json, "round_keys", origin));
  EDGETUNE_ASSIGN_OR_RETURN(result.trusted.roster,
                            KeysOf(json, "roster_keys", origin));
  return result;
}

}  // namespace edgetune
