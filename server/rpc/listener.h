#ifndef EDGETUNE_SERVER_RPC_LISTENER_H_
#define EDGETUNE_SERVER_RPC_LISTENER_H_

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/identity/kit.h"

namespace edgetune {

struct ListenOptions {
  std::string listen;  // host:port, port 0: any
  PartyRole role;      // that the kit must have
  // Callers prove who they are at the handshake; else they may.
  bool require_certificate = true;
  int largest_message = 4 << 20;
  size_t memory = 512 << 20;  // for all calls
};

// A gRPC server on one port: TLS from a kit on disk, limits, services. Key and
// certificate are read again when the kit's files change, within a second: new
// connections get the new ones, open ones go on. Life: Start, Shutdown (also by
// the destructor). Borrowed: services outlive it. Thread-safe.
class Listener {
 public:
  // kPortInUse names the address; kIdentity for an unusable kit.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(
      const ListenOptions& options, const Kit& kit,
      const std::vector<grpc::Service*>& services);
  ~Listener() { Shutdown(); }

  int port() const { return port_; }
  // Open calls get half a second.
  void Shutdown();

 private:
  Listener() = default;

  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_LISTENER_H_
