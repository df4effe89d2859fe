#include "server/rpc/participate_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "protos/grpc_setup.h"
#include "protos/grpc_status.h"
#include "server/rpc/caller.h"

namespace edgetune {
namespace {

constexpr size_t kMaxQueuedBytes = 8 << 20;
constexpr size_t kMaxQueuedMessages = 1024;
constexpr std::chrono::seconds kCloseGrace(5);

}  // namespace

ParticipateStream* ParticipateStream::Open(grpc::CallbackServerContext* context,
                                           const std::string& device_id,
                                           Coordinator* coordinator) {
  std::shared_ptr<ParticipateStream> stream(
      new ParticipateStream(context, coordinator));
  stream->self_ = stream;
  auto connection = coordinator->Connect(device_id, stream);
  std::lock_guard<std::mutex> lock(stream->mu_);
  stream->open_ = true;
  if (!connection.ok()) {
    stream->CloseLocked(connection.status());
    return stream.get();
  }
  stream->connection_ = *connection;
  // Tells the device that it is in before there is a message for it.
  context->AddInitialMetadata(kStreamOpenKey, "1");
  stream->StartSendInitialMetadata();
  stream->StartRead(&stream->incoming_);
  // What the coordinator said meanwhile.
  stream->Advance();
  return stream.get();
}

void ParticipateStream::Send(const v1::ServerMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  if (closing_.has_value()) return;
  queued_bytes_ += message.ByteSizeLong();
  queue_.push_back(message);
  if (queued_bytes_ > kMaxQueuedBytes || queue_.size() > kMaxQueuedMessages) {
    // Only the message being written stays: gRPC reads from it.
    queue_.erase(queue_.begin() + (writing_ ? 1 : 0), queue_.end());
    CloseLocked(absl::ResourceExhaustedError(
        fmt::format("the device does not read its messages: over {} waited",
                    kMaxQueuedMessages)));
    return;
  }
  Advance();
}

void ParticipateStream::Close(const absl::Status& reason) {
  std::lock_guard<std::mutex> lock(mu_);
  CloseLocked(reason);
}

void ParticipateStream::CloseLocked(const absl::Status& reason) {
  if (closing_.has_value()) return;
  closing_ = reason;
  Advance();
  if (finished_) return;
  // A peer that does not read would hold the stream open for its whole age.
  grace_.Set(std::chrono::system_clock::now() + kCloseGrace,
             // Weak: gRPC keeps this function as long as the alarm lives.
             [weak = weak_from_this()](bool fired) {
               auto self = weak.lock();
               if (!fired || self == nullptr) return;
               std::lock_guard<std::mutex> lock(self->mu_);
               if (!self->done_) self->context_->TryCancel();
             });
}

// Starts the next write, or finishes when there is none left and the stream is
// closing.
void ParticipateStream::Advance() {
  if (!open_ || writing_ || finished_) return;
  if (!queue_.empty()) {
    writing_ = true;
    StartWrite(&queue_.front());
  } else if (closing_.has_value()) {
    finished_ = true;
    Finish(ToGrpcStatus(*closing_));
  }
}

void ParticipateStream::OnWriteDone(bool ok) {
  std::lock_guard<std::mutex> lock(mu_);
  writing_ = false;
  queued_bytes_ -= std::min(queued_bytes_, queue_.front().ByteSizeLong());
  queue_.pop_front();
  if (!ok) {
    queue_.clear();
    if (!closing_.has_value()) {
      closing_ = absl::CancelledError("the device went away");
    }
  }
  Advance();
}

void ParticipateStream::OnReadDone(bool ok) {
  if (!ok) {
    // Half-closed by the device, or the connection is gone.
    bool cancelled = context_->IsCancelled();
    std::lock_guard<std::mutex> lock(mu_);
    CloseLocked(cancelled ? absl::CancelledError("the device went away")
                          : absl::OkStatus());
    return;
  }
  absl::Status size =
      CheckControlSize(incoming_.ByteSizeLong(), "the device's message");
  if (!size.ok()) return Close(size);
  v1::ClientMessage message;
  message.Swap(&incoming_);  // first: the next read may begin at once
  coordinator_->Receive(*connection_, std::move(message),
                        [self = shared_from_this()] { self->ReadNext(); });
}

void ParticipateStream::ReadNext() {
  std::lock_guard<std::mutex> lock(mu_);
  if (!closing_.has_value()) StartRead(&incoming_);
}

void ParticipateStream::OnDone() {
  if (connection_.has_value()) coordinator_->Disconnect(*connection_);
  std::shared_ptr<ParticipateStream> self;
  {
    std::lock_guard<std::mutex> lock(mu_);
    done_ = true;
    self = std::move(self_);
  }
  self->grace_.Cancel();
}

}  // namespace edgetune
