#include "server/rpc/caller.h"

#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr size_t kMaxControlBytes = 1 << 20;

absl::StatusOr<Identity> IdentityOf(const grpc::ServerContextBase& context) {
  auto auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) {
    return Annotate(
        absl::UnauthenticatedError("the caller has no verified certificate"),
        ErrorKind::kIdentity);
  }
  std::vector<std::string> uris;
  for (const grpc::string_ref& uri :
       auth->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    uris.emplace_back(uri.data(), uri.size());
  }
  return IdentityFromUris(uris);
}

}  // namespace

absl::StatusOr<std::string> CallerWithRole(
    const grpc::ServerContextBase& context, PartyRole role,
    const char* service) {
  EDGETUNE_ASSIGN_OR_RETURN(Identity identity, IdentityOf(context));
  if (identity.role == role) return identity.id;
  return Annotate(
      absl::PermissionDeniedError(fmt::format(
          "{} \"{}\" may not call the {} service: it serves role \"{}\"",
          PartyRoleName(identity.role), identity.id, service,
          PartyRoleName(role))),
      ErrorKind::kIdentity,
      fmt::format("use a kit of role \"{}\"", PartyRoleName(role)));
}

absl::Status CheckControlSize(size_t bytes, const char* what) {
  if (bytes <= kMaxControlBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      fmt::format("{} has {} bytes; at most {} are accepted", what, bytes,
                  kMaxControlBytes));
}

}  // namespace edgetune
