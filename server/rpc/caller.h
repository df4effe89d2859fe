#ifndef EDGETUNE_SERVER_RPC_CALLER_H_
#define EDGETUNE_SERVER_RPC_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/identity/kit.h"

namespace edgetune {

// The id of the caller, from the SAN URI of its verified certificate, if it
// has the role that `service` serves. PermissionDenied (kIdentity) says which
// role was there and which is needed. Thread-safe.
absl::StatusOr<std::string> CallerWithRole(
    const grpc::ServerContextBase& context, PartyRole role,
    const char* service);

// ResourceExhausted for a control message above 1 MiB: gRPC's own limit (4 MiB)
// has room for chunks, which control messages do not need.
absl::Status CheckControlSize(size_t bytes, const char* what);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_CALLER_H_
