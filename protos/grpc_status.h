#ifndef EDGETUNE_PROTOS_GRPC_STATUS_H_
#define EDGETUNE_PROTOS_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace edgetune {

// A Status as it crosses the wire: the code and message as gRPC has them (the
// codes of both are the same numbers), kind and hint in the status' details.
// The message is cut at 2,000 bytes and the hint at 500, so that no answer
// breaks the peer's limit on metadata. Pure functions, thread-safe.
grpc::Status ToGrpcStatus(const absl::Status& status);
// Details that are not ours, or damaged, are ignored; an unknown code becomes
// Unknown.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_GRPC_STATUS_H_
