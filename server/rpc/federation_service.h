#ifndef EDGETUNE_SERVER_RPC_FEDERATION_SERVICE_H_
#define EDGETUNE_SERVER_RPC_FEDERATION_SERVICE_H_

#include "edgetune/v1/federation.grpc.pb.h"
#include "server/coordinator.h"
#include "server/rpc/upload_slots.h"
#include "storage/blob_store.h"

namespace edgetune {

// The devices' service: who calls, is it a device, may it; then the
// coordinator's answer or the store's bytes. Thread-safe. Everything given is
// borrowed and outlives the server.
class FederationService final : public v1::Federation::CallbackService {
 public:
  FederationService(Coordinator* coordinator, BlobStore* blobs,
                    UploadSlots* slots)
      : coordinator_(coordinator), blobs_(blobs), slots_(slots) {}

  grpc::ServerBidiReactor<v1::ClientMessage, v1::ServerMessage>* Participate(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::Chunk>* Download(
      grpc::CallbackServerContext* context,
      const v1::DownloadRequest* request) override;
  grpc::ServerReadReactor<v1::UploadChunk>* Upload(
      grpc::CallbackServerContext* context,
      v1::UploadStatus* response) override;
  grpc::ServerUnaryReactor* QueryUpload(grpc::CallbackServerContext* context,
                                        const v1::UploadKey* request,
                                        v1::UploadStatus* response) override;

 private:
  Coordinator* const coordinator_;
  BlobStore* const blobs_;
  UploadSlots* const slots_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_FEDERATION_SERVICE_H_
