#ifndef EDGETUNE_SERVER_RPC_OPERATOR_SERVICE_H_
#define EDGETUNE_SERVER_RPC_OPERATOR_SERVICE_H_

#include "edgetune/v1/operator.grpc.pb.h"
#include "server/coordinator.h"
#include "server/rpc/upload_slots.h"
#include "storage/blob_store.h"

namespace edgetune {

// The operators' service. Fetch gives out what runs publish (base parts,
// initial and published adapters) and nothing else: single updates lie in the
// same store. Thread-safe. Everything given is borrowed and outlives the
// server.
class OperatorService final : public v1::Operator::CallbackService {
 public:
  OperatorService(Coordinator* coordinator, BlobStore* blobs,
                  UploadSlots* slots)
      : coordinator_(coordinator), blobs_(blobs), slots_(slots) {}

  grpc::ServerReadReactor<v1::PartChunk>* PutPart(
      grpc::CallbackServerContext* context,
      v1::UploadStatus* response) override;
  grpc::ServerUnaryReactor* QueryPart(grpc::CallbackServerContext* context,
                                      const v1::PartKey* request,
                                      v1::UploadStatus* response) override;
  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context,
                                   const v1::SubmitRequest* request,
                                   v1::RunStatus* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListRequest* request,
                                 v1::ListResponse* response) override;
  grpc::ServerUnaryReactor* Show(grpc::CallbackServerContext* context,
                                 const v1::RunKey* request,
                                 v1::RunStatus* response) override;
  grpc::ServerWriteReactor<v1::RunStatus>* Watch(
      grpc::CallbackServerContext* context, const v1::RunKey* request) override;
  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context,
                                 const v1::RunKey* request,
                                 v1::RunStatus* response) override;
  grpc::ServerUnaryReactor* Override(grpc::CallbackServerContext* context,
                                     const v1::OverrideRequest* request,
                                     v1::RunStatus* response) override;
  grpc::ServerWriteReactor<v1::Chunk>* Fetch(
      grpc::CallbackServerContext* context,
      const v1::DownloadRequest* request) override;

 private:
  Coordinator* const coordinator_;
  BlobStore* const blobs_;
  UploadSlots* const slots_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_OPERATOR_SERVICE_H_
