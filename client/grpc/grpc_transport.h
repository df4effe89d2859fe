#ifndef EDGETUNE_CLIENT_GRPC_GRPC_TRANSPORT_H_
#define EDGETUNE_CLIENT_GRPC_GRPC_TRANSPORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/transport.h"
#include "privacy/identity/kit.h"

namespace edgetune {

// Transport over gRPC with mutual TLS from a device kit. `address` empty: the
// kit's. The server's certificate must be of the kit's CA and carry the SAN
// URI of a server. A kit that lies on disk is read again for each connection:
// it may have been renewed.
absl::StatusOr<std::unique_ptr<Transport>> MakeGrpcTransport(
    const Kit& kit, const std::string& address);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_GRPC_TRANSPORT_H_
