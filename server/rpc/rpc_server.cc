#include "server/rpc/rpc_server.h"

#include <utility>

#include "base/status.h"
#include "server/rpc/federation_service.h"
#include "server/rpc/listener.h"
#include "server/rpc/operator_service.h"
#include "server/rpc/upload_slots.h"

namespace edgetune {
namespace {

class GrpcServer final : public RpcServer {
 public:
  GrpcServer(Coordinator* coordinator, BlobStore* blobs)
      : federation_(coordinator, blobs, &slots_),
        operator_(coordinator, blobs, &slots_) {}
  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen(const std::string& listen, const Kit& kit) {
    EDGETUNE_ASSIGN_OR_RETURN(
        listener_,
        Listener::Start({.listen = listen, .role = PartyRole::kServer}, kit,
                        {&federation_, &operator_}));
    return absl::OkStatus();
  }

  int port() const override { return listener_->port(); }
  void Shutdown() override {
    if (listener_ != nullptr) listener_->Shutdown();
  }

 private:
  UploadSlots slots_;
  FederationService federation_;
  OperatorService operator_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const std::string& listen, const Kit& kit, Coordinator* coordinator,
    BlobStore* blobs) {
  auto server = std::make_unique<GrpcServer>(coordinator, blobs);
  EDGETUNE_RETURN_IF_ERROR(server->Listen(listen, kit));
  return absl::StatusOr<std::unique_ptr<RpcServer>>(std::move(server));
}

}  // namespace edgetune
