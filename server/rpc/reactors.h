#ifndef EDGETUNE_SERVER_RPC_REACTORS_H_
#define EDGETUNE_SERVER_RPC_REACTORS_H_

// Reactors that both services use. Each owns itself: made with new, deleted in
// OnDone, which gRPC calls once, after every other reaction. Their reactions
// never overlap, because each starts its next operation last. Disk work is
// done inside them: it holds up one of gRPC's threads, and no lock but the
// upload's own.

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/grpc_status.h"
#include "server/rpc/upload_intake.h"
#include "storage/blob_store.h"

namespace edgetune {

inline grpc::ServerUnaryReactor* FinishUnary(
    grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Answers a unary call with what a function returned.
template <typename Response>
grpc::ServerUnaryReactor* AnswerUnary(grpc::CallbackServerContext* context,
                                      absl::StatusOr<Response> result,
                                      Response* response) {
  if (result.ok()) *response = *std::move(result);
  return FinishUnary(context, result.status());
}

// A call that is refused before it begins. Base is the reactor's type.
template <typename Base>
class RefusedCall final : public Base {
 public:
  explicit RefusedCall(const absl::Status& status) {
    this->Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

// Streams one blob as chunks of 256 KiB from `offset`, at least one.
class BlobStream final : public grpc::ServerWriteReactor<v1::Chunk> {
 public:
  // `count` hears once, before the stream ends, how many bytes were written.
  // The caller checked offset <= size.
  BlobStream(std::unique_ptr<BlobBytes> file, uint64_t offset,
             std::function<void(uint64_t)> count);

  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  void WriteNext();
  void End(const absl::Status& status);

  const std::unique_ptr<BlobBytes> file_;
  const std::function<void(uint64_t)> count_;
  uint64_t offset_;
  uint64_t written_ = 0;
  v1::Chunk chunk_;
};

// Checks `request` against the store and makes the stream.
absl::StatusOr<BlobStream*> OpenBlobStream(const BlobStore& blobs,
                                           const Digest& digest,
                                           uint64_t offset,
                                           std::function<void(uint64_t)> count);

// Takes an upload in. Chunk is UploadChunk or PartChunk.
template <typename ChunkMessage>
class UploadStream final : public grpc::ServerReadReactor<ChunkMessage> {
 public:
  // Makes the intake once the first chunk brought the key.
  using Open = std::function<UploadIntake::Dependencies(const ChunkMessage&)>;

  UploadStream(grpc::CallbackServerContext* context, v1::UploadStatus* response,
               Open open)
      : context_(context), response_(response), open_(std::move(open)) {
    this->StartRead(&chunk_);
  }

  void OnReadDone(bool ok) override {
    absl::Status status = ok ? Take() : Close();
    if (ok && status.ok()) {
      this->StartRead(&chunk_);
    } else {
      // The place is free before the sender hears of the end and comes anew.
      intake_.reset();
      this->Finish(ToGrpcStatus(status));
    }
  }
  void OnDone() override { delete this; }

 private:
  absl::Status Take() {
    if (chunk_.has_key() != (intake_ == nullptr)) {
      return absl::InvalidArgumentError(
          "the key belongs on the first chunk of an upload, and only there");
    }
    if (intake_ == nullptr) {
      intake_ = std::make_unique<UploadIntake>(open_(chunk_));
      absl::Status begun =
          intake_->Begin(chunk_.key().sha256(), chunk_.key().size());
      if (!begun.ok()) return begun;
    }
    return intake_->Accept(chunk_.offset(), chunk_.data(), chunk_.crc32c());
  }

  absl::Status Close() {
    if (context_->IsCancelled()) {
      return absl::CancelledError("the sender went away");
    }
    if (intake_ == nullptr) {
      return absl::InvalidArgumentError("upload without a chunk");
    }
    auto status = intake_->Finish();
    if (status.ok()) *response_ = *status;
    return status.status();
  }

  grpc::CallbackServerContext* const context_;
  v1::UploadStatus* const response_;
  const Open open_;
  std::unique_ptr<UploadIntake> intake_;
  ChunkMessage chunk_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_REACTORS_H_
