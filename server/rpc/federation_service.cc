#include "server/rpc/federation_service.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "server/rpc/caller.h"
#include "server/rpc/participate_stream.h"
#include "server/rpc/reactors.h"

namespace edgetune {
namespace {

absl::StatusOr<std::string> DeviceOf(
    const grpc::CallbackServerContext& context) {
  return CallerWithRole(context, PartyRole::kDevice, "Federation");
}

absl::StatusOr<BlobStream*> OpenDownload(Coordinator* coordinator,
                                         const BlobStore& blobs,
                                         const std::string& device,
                                         const v1::DownloadRequest& request) {
  EDGETUNE_ASSIGN_OR_RETURN(Digest digest, DigestFromBytes(request.digest()));
  EDGETUNE_RETURN_IF_ERROR(coordinator->AuthorizeDownload(device, digest));
  return OpenBlobStream(blobs, digest, request.offset(),
                        [coordinator, device, digest](uint64_t bytes) {
                          coordinator->CountDownload(device, digest, bytes);
                        });
}

absl::StatusOr<v1::UploadStatus> WhereUploadStands(Coordinator* coordinator,
                                                   const BlobStore& blobs,
                                                   const std::string& device,
                                                   const v1::UploadKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string name,
                            coordinator->AuthorizeUpload(device, key));
  return QueryPartial(blobs, name, key.sha256(), key.size());
}

}  // namespace

grpc::ServerBidiReactor<v1::ClientMessage, v1::ServerMessage>*
FederationService::Participate(grpc::CallbackServerContext* context) {
  using Bidi = grpc::ServerBidiReactor<v1::ClientMessage, v1::ServerMessage>;
  auto device = DeviceOf(*context);
  if (!device.ok()) return new RefusedCall<Bidi>(device.status());
  return ParticipateStream::Open(context, *device, coordinator_);
}

grpc::ServerWriteReactor<v1::Chunk>* FederationService::Download(
    grpc::CallbackServerContext* context, const v1::DownloadRequest* request) {
  using Writer = grpc::ServerWriteReactor<v1::Chunk>;
  auto device = DeviceOf(*context);
  if (!device.ok()) return new RefusedCall<Writer>(device.status());
  auto stream = OpenDownload(coordinator_, *blobs_, *device, *request);
  if (!stream.ok()) return new RefusedCall<Writer>(stream.status());
  return *stream;
}

grpc::ServerReadReactor<v1::UploadChunk>* FederationService::Upload(
    grpc::CallbackServerContext* context, v1::UploadStatus* response) {
  using Reader = grpc::ServerReadReactor<v1::UploadChunk>;
  auto device = DeviceOf(*context);
  if (!device.ok()) return new RefusedCall<Reader>(device.status());
  return new UploadStream<v1::UploadChunk>(
      context, response,
      [this, device = *device](const v1::UploadChunk& first) {
        return UploadIntake::Dependencies{
            blobs_, slots_, "device/" + device,
            [this, device, key = first.key()] {
              return coordinator_->AuthorizeUpload(device, key);
            },
            [this, device](uint64_t bytes) {
              coordinator_->CountUpload(device, bytes);
            }};
      });
}

grpc::ServerUnaryReactor* FederationService::QueryUpload(
    grpc::CallbackServerContext* context, const v1::UploadKey* request,
    v1::UploadStatus* response) {
  auto device = DeviceOf(*context);
  if (!device.ok()) return FinishUnary(context, device.status());
  return AnswerUnary(
      context, WhereUploadStands(coordinator_, *blobs_, *device, *request),
      response);
}

}  // namespace edgetune
