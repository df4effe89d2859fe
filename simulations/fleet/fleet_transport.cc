#include "simulations/fleet/fleet_transport.h"

#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace edgetune {
namespace {

constexpr absl::Duration kReconnect = absl::Seconds(1);

v1::UploadStatus MakeStatus(uint64_t committed, bool complete) {
  v1::UploadStatus status;
  status.set_committed(committed);
  status.set_complete(complete);
  return status;
}

}  // namespace

// The coordinator's end of one connection.
class FleetTransport::Stream final : public DeviceChannel {
 public:
  explicit Stream(FleetTransport* transport) : transport_(transport) {}

  void Send(const v1::ServerMessage& message) override {
    if (transport_ == nullptr) return;
    if (message.has_assignment() || message.has_outcome()) {
      *transport_->network_.went_on = true;
    }
    transport_->Later(transport_->latency_, [to = transport_, message] {
      to->taps_.on_receive(message);
      to->listener_->OnMessage(message);
      to->Deliver();
    });
  }

  void Close(const absl::Status& reason) override {
    FleetTransport* const to = std::exchange(transport_, nullptr);
    if (to == nullptr) return;
    to->stream_.reset();
    const bool final =
        absl::IsPermissionDenied(reason) || absl::IsUnauthenticated(reason);
    to->Later(to->latency_, [to, reason, final] {
      to->listener_->OnDown(reason);
      if (!final) to->Later(kReconnect, [to] { to->Connect(); });
      to->Deliver();
    });
  }

  // The device's end is gone.
  void Leave() { transport_ = nullptr; }

  uint64_t connection = 0;

 private:
  FleetTransport* transport_;
};

FleetTransport::FleetTransport(Network network, std::string device_id,
                               absl::Duration latency, Taps taps)
    : network_(network),
      device_id_(std::move(device_id)),
      latency_(latency),
      taps_(std::move(taps)) {}

FleetTransport::~FleetTransport() { Close(); }

void FleetTransport::Later(absl::Duration wait, std::function<void()> what) {
  network_.queue->At(
      network_.clock->Now() + wait,
      [alive = std::weak_ptr<const bool>(alive_), what = std::move(what)] {
        if (!alive.expired()) what();
      });
}

absl::Status FleetTransport::Start(Listener* listener) {
  listener_ = listener;
  alive_ = std::make_shared<const bool>(true);
  Later(latency_, [this] { Connect(); });
  return absl::OkStatus();
}

void FleetTransport::Connect() {
  const auto stream = std::make_shared<Stream>(this);
  const auto connection = network_.coordinator->Connect(device_id_, stream);
  if (!connection.ok()) {
    stream_ = stream;
    return stream->Close(connection.status());
  }
  stream->connection = *connection;
  stream_ = stream;
  listener_->OnUp();
  Deliver();
}

// Last in any callback: the device may destroy this transport meanwhile.
void FleetTransport::Deliver() {
  const auto deliver = taps_.deliver;
  deliver();
}

void FleetTransport::Close() {
  alive_.reset();
  if (stream_ == nullptr) return;
  const auto stream = std::exchange(stream_, nullptr);
  stream->Leave();
  network_.coordinator->Disconnect(stream->connection);
}

void FleetTransport::Send(const v1::ClientMessage& message) {
  if (message.has_progress() || stream_ == nullptr) return;
  taps_.on_send(message);
  Later(latency_, [this, stream = stream_, message] {
    if (stream != stream_) return;  // another connection by now
    network_.coordinator->Receive(stream->connection, message, [] {});
  });
}

void FleetTransport::CountDownload(const Digest& digest, uint64_t bytes) {
  bytes_down_ += bytes;
  network_.coordinator->CountDownload(device_id_, digest, bytes);
}

absl::Status FleetTransport::Download(
    const Digest& digest, uint64_t offset,
    const std::function<absl::Status(std::span<const uint8_t> data,
                                     uint64_t total_size)>& sink) {
  EDGETUNE_RETURN_IF_ERROR(
      network_.coordinator->AuthorizeDownload(device_id_, digest));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, network_.blobs->Get(digest));
  const auto bytes = blob->bytes();
  if (offset > bytes.size()) {
    return absl::InvalidArgumentError("the offset is behind the blob's end");
  }
  CountDownload(digest, bytes.size() - offset);
  return sink(bytes.subspan(offset), bytes.size());
}

absl::StatusOr<v1::UploadStatus> FleetTransport::QueryUpload(
    const v1::UploadKey& key) {
  EDGETUNE_RETURN_IF_ERROR(
      network_.coordinator->AuthorizeUpload(device_id_, key).status());
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(key.sha256()));
  if (network_.blobs->Has(digest)) return MakeStatus(key.size(), true);
  return MakeStatus(0, false);
}

absl::StatusOr<v1::UploadStatus> FleetTransport::Upload(
    const v1::UploadKey& key, uint64_t offset, std::span<const uint8_t> bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::string name,
      network_.coordinator->AuthorizeUpload(device_id_, key));
  bytes_up_ += bytes.size() - offset;
  network_.coordinator->CountUpload(device_id_, bytes.size() - offset);
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(key.sha256()));
  // What the device keeps in the same memory need not be copied. A masked
  // vector is in no store.
  if (network_.blobs->Adopt(digest)) return MakeStatus(key.size(), true);
  EDGETUNE_RETURN_IF_ERROR(network_.blobs->AppendPartial(
      name, offset, bytes.subspan(offset), key.size()));
  EDGETUNE_RETURN_IF_ERROR(
      network_.blobs->FinishPartial(name, digest, key.size()));
  return MakeStatus(key.size(), true);
}

}  // namespace edgetune
