#include "simulations/in_process_transport.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "absl/time/clock.h"
#include "base/status.h"
#include "simulations/in_process_stream.h"

namespace edgetune {
namespace {

constexpr size_t kChunk = 256 << 10;
constexpr absl::Duration kReconnect = absl::Milliseconds(10);

absl::Status Broken() {
  return absl::UnavailableError("the connection broke (injected)");
}

v1::UploadStatus MakeStatus(uint64_t committed, bool complete) {
  v1::UploadStatus status;
  status.set_committed(committed);
  status.set_complete(complete);
  return status;
}

absl::StatusOr<v1::UploadStatus> StandOf(BlobStore& blobs,
                                         const std::string& name,
                                         const v1::UploadKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(key.sha256()));
  if (blobs.Has(digest)) return MakeStatus(key.size(), true);
  auto size = blobs.PartialSize(name);
  if (absl::IsNotFound(size.status())) return MakeStatus(0, false);
  EDGETUNE_RETURN_IF_ERROR(size);
  return MakeStatus(*size, false);
}

}  // namespace

void InProcessNetwork::Attach(Coordinator* coordinator, BlobStore* blobs) {
  std::unique_lock<std::shared_mutex> lock(mu_);
  coordinator_ = coordinator;
  blobs_ = blobs;
}

void InProcessNetwork::Detach() {
  std::unique_lock<std::shared_mutex> lock(mu_);
  coordinator_ = nullptr;
  blobs_ = nullptr;
  std::lock_guard<std::mutex> streams_lock(streams_mu_);
  for (const auto& weak : streams_) {
    if (const auto stream = weak.lock()) {
      stream->Close(absl::UnavailableError("the coordinator is gone"));
    }
  }
  streams_.clear();
}

absl::Status InProcessNetwork::Call(
    const std::function<absl::Status(Coordinator&, BlobStore&)>& call) {
  std::shared_lock<std::shared_mutex> lock(mu_);
  if (coordinator_ == nullptr) {
    return absl::UnavailableError("no coordinator is attached");
  }
  return call(*coordinator_, *blobs_);
}

absl::StatusOr<uint64_t> InProcessNetwork::Connect(
    const std::string& device_id, std::shared_ptr<InProcessStream> stream) {
  uint64_t connection = 0;
  EDGETUNE_RETURN_IF_ERROR(Call([&](Coordinator& coordinator,
                                    BlobStore&) -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(connection,
                              coordinator.Connect(device_id, stream));
    std::lock_guard<std::mutex> lock(streams_mu_);
    std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
    streams_.push_back(stream);
    return absl::OkStatus();
  }));
  return connection;
}

InProcessTransport::InProcessTransport(InProcessNetwork* network,
                                       std::string device_id)
    : network_(network), device_id_(std::move(device_id)) {}

InProcessTransport::~InProcessTransport() { Close(); }

absl::Status InProcessTransport::Start(Listener* listener) {
  if (listener_ != nullptr) {
    return absl::FailedPreconditionError("the transport was started before");
  }
  listener_ = listener;
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void InProcessTransport::Close() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    closing_ = true;
    if (stream_ != nullptr) stream_->Close(absl::CancelledError("closed"));
  }
  if (thread_.joinable()) thread_.join();
}

void InProcessTransport::CutStream() {
  std::lock_guard<std::mutex> lock(mu_);
  if (stream_ != nullptr) {
    stream_->Close(absl::UnavailableError("the stream was cut"));
  }
}

bool InProcessTransport::closing() const {
  std::lock_guard<std::mutex> lock(mu_);
  return closing_;
}

void InProcessTransport::Loop() {
  while (!closing()) {
    const absl::Status ended = Serve();
    if (closing()) return;
    listener_->OnDown(ended);
    if (absl::IsPermissionDenied(ended) || absl::IsUnauthenticated(ended)) {
      return;
    }
    absl::SleepFor(kReconnect);
  }
}

absl::Status InProcessTransport::Serve() {
  const auto stream = std::make_shared<InProcessStream>();
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t connection,
                            network_->Connect(device_id_, stream));
  {
    std::lock_guard<std::mutex> lock(mu_);
    stream_ = stream;
    if (closing_) stream->Close(absl::CancelledError("closed"));
  }
  listener_->OnUp();
  absl::Status ended = Carry(stream, connection);
  {
    std::lock_guard<std::mutex> lock(mu_);
    stream_ = nullptr;
  }
  (void)network_->Call([&](Coordinator& coordinator, BlobStore&) {
    coordinator.Disconnect(connection);
    return absl::OkStatus();
  });
  return ended;
}

absl::Status InProcessTransport::Carry(
    const std::shared_ptr<InProcessStream>& stream, uint64_t connection) {
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const InProcessStream::Message message,
                              stream->Take());
    if (closing()) return absl::CancelledError("closed");
    if (const auto* sent = std::get_if<v1::ServerMessage>(&message)) {
      listener_->OnMessage(*sent);
      continue;
    }
    (void)network_->Call([&](Coordinator& coordinator, BlobStore&) {
      // Under the call's lock: a closed stream may be another coordinator's.
      if (!stream->closed()) {
        coordinator.Receive(connection, std::get<v1::ClientMessage>(message),
                            [stream] { stream->Handled(); });
      }
      return absl::OkStatus();
    });
  }
}

void InProcessTransport::Send(const v1::ClientMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  if (stream_ != nullptr) stream_->Say(message);
}

void InProcessTransport::FailTransfer(uint64_t nth, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  failures_[transfers_ + nth] = bytes;
}

uint64_t InProcessTransport::TakeAllowance() {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = failures_.find(transfers_++);
  return it == failures_.end() ? std::numeric_limits<uint64_t>::max()
                               : it->second;
}

void InProcessTransport::CountMoved(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  bytes_moved_ += bytes;
}

uint64_t InProcessTransport::bytes_moved() const {
  std::lock_guard<std::mutex> lock(mu_);
  return bytes_moved_;
}

absl::Status InProcessTransport::Download(
    const Digest& digest, uint64_t offset,
    const std::function<absl::Status(std::span<const uint8_t> data,
                                     uint64_t total_size)>& sink) {
  uint64_t allowance = TakeAllowance();
  std::unique_ptr<BlobBytes> blob;
  EDGETUNE_RETURN_IF_ERROR(network_->Call(
      [&](Coordinator& coordinator, BlobStore& blobs) -> absl::Status {
        EDGETUNE_RETURN_IF_ERROR(
            coordinator.AuthorizeDownload(device_id_, digest));
        EDGETUNE_ASSIGN_OR_RETURN(blob, blobs.Get(digest));
        return absl::OkStatus();
      }));
  const auto bytes = blob->bytes();
  if (offset > bytes.size()) {
    return absl::InvalidArgumentError("the offset is behind the blob's end");
  }
  while (offset < bytes.size()) {
    if (closing()) return absl::CancelledError("closed");
    const size_t length =
        std::min({kChunk, bytes.size() - offset, size_t{allowance}});
    if (length == 0) return Broken();
    EDGETUNE_RETURN_IF_ERROR(
        network_->Call([&](Coordinator& coordinator, BlobStore&) {
          coordinator.CountDownload(device_id_, digest, length);
          return absl::OkStatus();
        }));
    CountMoved(length);
    EDGETUNE_RETURN_IF_ERROR(sink(bytes.subspan(offset, length), bytes.size()));
    offset += length;
    allowance -= length;
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::UploadStatus> InProcessTransport::Upload(
    const v1::UploadKey& key, uint64_t offset, std::span<const uint8_t> bytes) {
  uint64_t allowance = TakeAllowance();
  v1::UploadStatus status = MakeStatus(offset, false);
  while (!status.complete()) {
    if (closing()) return absl::CancelledError("closed");
    const size_t length =
        std::min({kChunk, bytes.size() - offset, size_t{allowance}});
    if (length == 0 && offset < bytes.size()) return Broken();
    EDGETUNE_RETURN_IF_ERROR(network_->Call(
        [&](Coordinator& coordinator, BlobStore& blobs) -> absl::Status {
          EDGETUNE_ASSIGN_OR_RETURN(
              const std::string name,
              coordinator.AuthorizeUpload(device_id_, key));
          EDGETUNE_ASSIGN_OR_RETURN(status, StandOf(blobs, name, key));
          if (status.complete()) return absl::OkStatus();
          EDGETUNE_RETURN_IF_ERROR(blobs.AppendPartial(
              name, offset, bytes.subspan(offset, length), key.size()));
          coordinator.CountUpload(device_id_, length);
          if (offset + length < bytes.size()) return absl::OkStatus();
          EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                                    DigestFromBytes(key.sha256()));
          EDGETUNE_RETURN_IF_ERROR(
              blobs.FinishPartial(name, digest, key.size()));
          status = MakeStatus(key.size(), true);
          return absl::OkStatus();
        }));
    CountMoved(length);
    offset += length;
    allowance -= length;
  }
  return status;
}

absl::StatusOr<v1::UploadStatus> InProcessTransport::QueryUpload(
    const v1::UploadKey& key) {
  absl::StatusOr<v1::UploadStatus> status = MakeStatus(0, false);
  EDGETUNE_RETURN_IF_ERROR(network_->Call(
      [&](Coordinator& coordinator, BlobStore& blobs) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(const std::string name,
                                  coordinator.AuthorizeUpload(device_id_, key));
        status = StandOf(blobs, name, key);
        return status.status();
      }));
  return status;
}

}  // namespace edgetune
