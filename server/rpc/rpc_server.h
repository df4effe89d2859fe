#ifndef EDGETUNE_SERVER_RPC_RPC_SERVER_H_
#define EDGETUNE_SERVER_RPC_RPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/identity/kit.h"
#include "server/coordinator.h"
#include "storage/blob_store.h"

namespace edgetune {

// The coordinator's gRPC door: Federation for devices, Operator for operators,
// mutual TLS always, callback API only. Knows who calls from the verified
// certificate. Life: Start (listening when it returns), Shutdown. Borrowed:
// coordinator and blobs outlive it.
class RpcServer {
 public:
  // kPortInUse names the address; kIdentity for an unusable kit.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      const std::string& listen, const Kit& kit, Coordinator* coordinator,
      BlobStore* blobs);
  virtual ~RpcServer() = default;

  virtual int port() const = 0;  // bound, also when `listen` asked for 0
  virtual void Shutdown() = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_RPC_SERVER_H_
