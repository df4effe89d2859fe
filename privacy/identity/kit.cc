#include "privacy/identity/kit.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit_files.h"

namespace edgetune {
namespace {

constexpr char kUriScheme[] = "edgetune://";
constexpr uint64_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxKeys = 16;
constexpr PartyRole kRoles[] = {PartyRole::kServer, PartyRole::kOperator,
                                PartyRole::kDevice};
constexpr char kProvisionHint[] =
    "make kits with `edgetune provision` and give this program one of them";
constexpr char kMixedHint[] =
    "the kit's files come from different provisionings: copy it whole";

std::optional<PartyRole> RoleNamed(std::string_view name) {
  for (const PartyRole role : kRoles) {
    if (PartyRoleName(role) == name) return role;
  }
  return std::nullopt;
}

// "a device", "an operator".
std::string WithArticle(PartyRole role) {
  return fmt::format("{} {}", role == PartyRole::kOperator ? "an" : "a",
                     PartyRoleName(role));
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

absl::StatusOr<std::string> ReadKitFile(const std::string& directory,
                                        const char* name) {
  auto text = ReadFile(fmt::format("{}/{}", directory, name), kMaxFileBytes);
  if (text.ok()) return text;
  return Annotate(
      Prefix(text.status(), fmt::format("kit {} is not usable", directory)),
      ErrorKind::kIdentity, kProvisionHint);
}

absl::Status BadDescription(const std::string& directory,
                            const std::string& problem) {
  return Annotate(absl::InvalidArgumentError(
                      fmt::format("{}/{}: {}", directory, kKitFile, problem)),
                  ErrorKind::kIdentity, kProvisionHint);
}

absl::StatusOr<std::string> TextOf(const nlohmann::json& json, const char* key,
                                   const std::string& directory) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) {
    return BadDescription(directory, fmt::format("'{}' is not a text", key));
  }
  return found->get<std::string>();
}

absl::StatusOr<std::vector<PublicKey>> KeysOf(const nlohmann::json& json,
                                              const char* key,
                                              const std::string& directory) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array() || found->empty() ||
      found->size() > kMaxKeys) {
    return BadDescription(directory, fmt::format("'{}' is not a list of 1 to "
                                                 "{} keys",
                                                 key, kMaxKeys));
  }
  std::vector<PublicKey> keys;
  for (const nlohmann::json& entry : *found) {
    std::string raw;
    if (!entry.is_string() ||
        !absl::Base64Unescape(entry.get<std::string>(), &raw)) {
      return BadDescription(directory,
                            fmt::format("'{}' holds no base64 key", key));
    }
    auto parsed = PublicKey::FromRaw(raw);
    if (!parsed.ok()) {
      return BadDescription(
          directory,
          fmt::format("'{}': {}", key, std::string(parsed.status().message())));
    }
    keys.push_back(*std::move(parsed));
  }
  return keys;
}

absl::StatusOr<Identity> ReadIdentity(const nlohmann::json& json,
                                      const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string role, TextOf(json, "role", directory));
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, TextOf(json, "id", directory));
  const auto known = RoleNamed(role);
  if (!known.has_value() || !IsPartyId(id)) {
    return BadDescription(
        directory, fmt::format("'{}' of role '{}' is no party", id, role));
  }
  return Identity{*known, std::move(id)};
}

// Fills identity, address and pinned keys from kit.json.
absl::Status ReadDescription(const std::string& directory, Kit* kit) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text,
                            ReadKitFile(directory, kKitFile));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return BadDescription(directory, "not a JSON object");
  const auto version = json.find("schema_version");
  if (version == json.end() || *version != kKitVersion) {
    return BadDescription(directory,
                          fmt::format("schema_version is not {}", kKitVersion));
  }
  EDGETUNE_ASSIGN_OR_RETURN(kit->identity, ReadIdentity(json, directory));
  EDGETUNE_ASSIGN_OR_RETURN(kit->server_address,
                            TextOf(json, "server", directory));
  if (!HostOf(kit->server_address).has_value()) {
    return BadDescription(directory, fmt::format("server '{}' is not host:port",
                                                 kit->server_address));
  }
  EDGETUNE_ASSIGN_OR_RETURN(kit->trusted.release,
                            KeysOf(json, "release_keys", directory));
  EDGETUNE_ASSIGN_OR_RETURN(kit->trusted.round,
                            KeysOf(json, "round_keys", directory));
  return absl::OkStatus();
}

absl::Status CheckInDate(const CertificateFacts& facts, std::string_view file,
                         absl::Time now) {
  if (now >= facts.not_before && now < facts.not_after) {
    return absl::OkStatus();
  }
  const bool expired = now >= facts.not_after;
  return Annotate(absl::FailedPreconditionError(fmt::format(
                      "{} {} {}; it is {}", file,
                      expired ? "expired at" : "is not valid before",
                      TimeText(expired ? facts.not_after : facts.not_before),
                      TimeText(now))),
                  ErrorKind::kIdentity,
                  expired ? "provision again and replace this kit"
                          : "set this machine's clock right");
}

absl::Status CheckCertificates(const std::string& directory, const Kit& kit,
                               absl::Time now) {
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(
        Prefix(status, fmt::format("kit {} is not usable", directory)),
        ErrorKind::kIdentity, kMixedHint);
  };
  EDGETUNE_RETURN_IF_ERROR(
      annotate(CheckIssuedBy(kit.certificate_pem, kit.ca_pem)));
  EDGETUNE_RETURN_IF_ERROR(
      annotate(CheckKeyMatches(kit.certificate_pem, kit.key_pem)));
  const auto facts = ReadCertificate(kit.certificate_pem);
  EDGETUNE_RETURN_IF_ERROR(annotate(facts.status()));
  const auto ca = ReadCertificate(kit.ca_pem);
  EDGETUNE_RETURN_IF_ERROR(annotate(ca.status()));
  EDGETUNE_RETURN_IF_ERROR(annotate(CheckInDate(*ca, kCaFile, now)));
  EDGETUNE_RETURN_IF_ERROR(
      annotate(CheckInDate(*facts, kCertificateFile, now)));
  const auto identity = IdentityFromUris(facts->uris);
  EDGETUNE_RETURN_IF_ERROR(annotate(identity.status()));
  if (identity->role == kit.identity.role && identity->id == kit.identity.id) {
    return absl::OkStatus();
  }
  return annotate(absl::PermissionDeniedError(fmt::format(
      "{} is of {}, {} of {}", kCertificateFile, IdentityUri(*identity),
      kKitFile, IdentityUri(kit.identity))));
}

absl::Status ReadRoundKey(const std::string& directory, Kit* kit) {
  EDGETUNE_ASSIGN_OR_RETURN(kit->round_key_pem,
                            ReadKitFile(directory, kRoundKeyFile));
  const auto key = SigningKey::FromPem(*kit->round_key_pem);
  const std::string file = fmt::format("{}/{}", directory, kRoundKeyFile);
  if (!key.ok()) {
    return Annotate(Prefix(key.status(), file), ErrorKind::kIdentity,
                    kProvisionHint);
  }
  for (const PublicKey& pinned : kit->trusted.round) {
    if (pinned.raw() == key->public_key().raw()) return absl::OkStatus();
  }
  return Annotate(absl::PermissionDeniedError(fmt::format(
                      "{} is none of the round keys of {}", file, kKitFile)),
                  ErrorKind::kIdentity, kMixedHint);
}

}  // namespace

bool IsPartyId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && id != "." && id != ".." &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

std::optional<std::string> HostOf(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view port = address.substr(colon + 1);
  int number = 0;
  const auto [end, error] =
      std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number < 1 ||
      number > 65535) {
    return std::nullopt;
  }
  std::string_view host = address.substr(0, colon);
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool valid =
      !host.empty() && std::all_of(host.begin(), host.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c >= '0' && c <= '9') || c == '.' || c == '-' ||
               (bracketed && c == ':');
      });
  if (!valid) return std::nullopt;
  return std::string(host);
}

std::string_view PartyRoleName(PartyRole role) {
  switch (role) {
    case PartyRole::kServer:
      return "server";
    case PartyRole::kOperator:
      return "operator";
    case PartyRole::kDevice:
      return "device";
  }
  return "";
}

std::string IdentityUri(const Identity& identity) {
  return fmt::format("{}{}/{}", kUriScheme, PartyRoleName(identity.role),
                     identity.id);
}

absl::StatusOr<Identity> IdentityFromUris(
    const std::vector<std::string>& uris) {
  const auto denied = [](std::string message) {
    return Annotate(absl::PermissionDeniedError(message), ErrorKind::kIdentity,
                    kProvisionHint);
  };
  const std::string* ours = nullptr;
  for (const std::string& uri : uris) {
    if (uri.rfind(kUriScheme, 0) != 0) continue;
    if (ours != nullptr) {
      return denied("a certificate names more than one edgetune:// identity");
    }
    ours = &uri;
  }
  if (ours == nullptr) {
    return denied("a certificate names no edgetune:// identity");
  }
  const std::string_view rest =
      std::string_view(*ours).substr(sizeof(kUriScheme) - 1);
  const size_t slash = rest.find('/');
  const auto role = RoleNamed(rest.substr(0, slash));
  if (slash == std::string_view::npos || !role.has_value() ||
      !IsPartyId(rest.substr(slash + 1))) {
    return denied(
        "a certificate's edgetune:// identity is malformed: wanted "
        "edgetune://<server|operator|device>/<id>");
  }
  return Identity{*role, std::string(rest.substr(slash + 1))};
}

absl::StatusOr<Kit> LoadKit(const std::string& directory, PartyRole role,
                            absl::Time now) {
  Kit kit;
  EDGETUNE_RETURN_IF_ERROR(ReadDescription(directory, &kit));
  if (kit.identity.role != role) {
    return Annotate(
        absl::PermissionDeniedError(
            fmt::format("{}: this is {} kit, wanted {} kit", directory,
                        WithArticle(kit.identity.role), WithArticle(role))),
        ErrorKind::kIdentity,
        fmt::format("name the directory of {} kit", WithArticle(role)));
  }
  EDGETUNE_ASSIGN_OR_RETURN(kit.ca_pem, ReadKitFile(directory, kCaFile));
  EDGETUNE_ASSIGN_OR_RETURN(kit.certificate_pem,
                            ReadKitFile(directory, kCertificateFile));
  EDGETUNE_ASSIGN_OR_RETURN(kit.key_pem, ReadKitFile(directory, kKeyFile));
  EDGETUNE_RETURN_IF_ERROR(CheckCertificates(directory, kit, now));
  if (role == PartyRole::kServer) {
    EDGETUNE_RETURN_IF_ERROR(ReadRoundKey(directory, &kit));
  }
  // The release key may well be kept elsewhere.
  const std::string release = fmt::format("{}/{}", directory, kReleaseKeyFile);
  std::error_code ignored;
  if (role == PartyRole::kOperator &&
      std::filesystem::exists(release, ignored)) {
    kit.release_key_path = release;
  }
  return kit;
}

}  // namespace edgetune
