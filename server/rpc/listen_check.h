#ifndef EDGETUNE_SERVER_RPC_LISTEN_CHECK_H_
#define EDGETUNE_SERVER_RPC_LISTEN_CHECK_H_

#include <string>

#include "absl/status/status.h"

namespace edgetune {

// Whether "host:port" can be listened on now, at every address of the host:
// gRPC itself is content with one of several and does not say why it failed.
// kPortInUse (FailedPrecondition) names the address; kConfig for an address
// that is malformed, unknown or not of this machine.
absl::Status CheckListenAddress(const std::string& listen);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_LISTEN_CHECK_H_
