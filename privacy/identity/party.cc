#include "privacy/identity/party.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr char kUriScheme[] = "edgetune://";
constexpr PartyRole kRoles[] = {PartyRole::kServer, PartyRole::kOperator,
                                PartyRole::kDevice, PartyRole::kEnrollment};

}  // namespace

std::string_view PartyRoleName(PartyRole role) {
  switch (role) {
    case PartyRole::kServer:
      return "server";
    case PartyRole::kOperator:
      return "operator";
    case PartyRole::kDevice:
      return "device";
    case PartyRole::kEnrollment:
      return "enrollment";
  }
  return "";
}

std::optional<PartyRole> PartyRoleNamed(std::string_view name) {
  for (const PartyRole role : kRoles) {
    if (PartyRoleName(role) == name) return role;
  }
  return std::nullopt;
}

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

std::string IdentityUri(const Identity& identity) {
  return fmt::format("{}{}/{}", kUriScheme, PartyRoleName(identity.role),
                     identity.id);
}

absl::StatusOr<Identity> IdentityFromUris(
    const std::vector<std::string>& uris) {
  const auto denied = [](std::string message) {
    return Annotate(absl::PermissionDeniedError(message), ErrorKind::kIdentity,
                    "use a kit that `edgetune provision` or enrolment made");
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
  const auto role = PartyRoleNamed(rest.substr(0, slash));
  if (slash == std::string_view::npos || !role.has_value() ||
      !IsPartyId(rest.substr(slash + 1))) {
    return denied(
        "a certificate's edgetune:// identity is malformed: wanted "
        "edgetune://<server|operator|device|enrollment>/<id>");
  }
  return Identity{*role, std::string(rest.substr(slash + 1))};
}

}  // namespace edgetune
