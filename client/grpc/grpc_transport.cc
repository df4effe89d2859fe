#include "client/grpc/grpc_transport.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "client/grpc/back_off.h"
#include "client/grpc/channel.h"
#include "client/grpc/device_stream.h"
#include "client/grpc/transfers.h"

namespace edgetune {
namespace {

// A stream that held this long earns a quick first retry when it breaks.
constexpr absl::Duration kStable = absl::Seconds(10);

bool IsFinal(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status);
}

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(Kit kit, std::string address)
      : kit_(std::move(kit)), address_(std::move(address)) {}
  ~GrpcTransport() override { Close(); }

  absl::Status Start(Listener* listener) override;
  void Close() override;
  void Send(const v1::ClientMessage& message) override;
  absl::Status Download(const Digest& digest, uint64_t offset,
                        const ChunkSink& sink) override;
  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) override;
  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override;

 private:
  // A call beside the stream, which Close cancels.
  class Call {
   public:
    Call(GrpcTransport* owner, absl::Duration limit) : owner_(owner) {
      SetDeadline(context, limit);
      std::lock_guard<std::mutex> lock(owner->mu_);
      if (owner->closed_ || owner->channel_ == nullptr) return;
      stub = v1::Federation::NewStub(owner->channel_);
      owner->calls_.insert(&context);
    }
    ~Call() {
      std::lock_guard<std::mutex> lock(owner_->mu_);
      owner_->calls_.erase(&context);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext context;
    std::unique_ptr<v1::Federation::Stub> stub;  // null: not connected

   private:
    GrpcTransport* const owner_;
  };

  void Serve();
  void RefreshKit();
  absl::Status ServeOneStream();
  void Deliver(DeviceStream& stream, DeviceStream::Event event);
  bool Pause(absl::Duration pause);
  absl::Status NotConnected() const {
    return Annotate(
        absl::UnavailableError(fmt::format("not connected to {}", address_)),
        ErrorKind::kConnection);
  }

  Kit kit_;  // of the serving thread
  const std::string address_;
  Listener* listener_ = nullptr;
  std::thread thread_;

  std::mutex mu_;
  std::condition_variable changed_;
  // All below guarded by mu_.
  bool closed_ = false;
  std::shared_ptr<grpc::Channel> channel_;
  DeviceStream* stream_ = nullptr;
  std::set<grpc::ClientContext*> calls_;
};

absl::Status GrpcTransport::Start(Listener* listener) {
  std::lock_guard<std::mutex> lock(mu_);
  if (listener_ != nullptr || closed_) {
    return absl::FailedPreconditionError("a transport starts once");
  }
  listener_ = listener;
  thread_ = std::thread([this] { Serve(); });
  return absl::OkStatus();
}

void GrpcTransport::Close() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    closed_ = true;
    if (stream_ != nullptr) stream_->Cancel();
    for (grpc::ClientContext* call : calls_) call->TryCancel();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void GrpcTransport::Send(const v1::ClientMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  if (stream_ != nullptr && !closed_) stream_->Send(message);
}

// Keeps a stream open until Close or a final refusal.
void GrpcTransport::Serve() {
  BackOff back_off;
  while (true) {
    absl::Time began = absl::Now();
    absl::Status down = ServeOneStream();
    {
      std::lock_guard<std::mutex> lock(mu_);
      if (closed_) return;
    }
    listener_->OnDown(down);
    if (IsFinal(down)) return;
    if (absl::Now() - began >= kStable) back_off.Reset();
    if (!Pause(back_off.Next())) return;
  }
}

// False when closed meanwhile.
bool GrpcTransport::Pause(absl::Duration pause) {
  std::unique_lock<std::mutex> lock(mu_);
  return !changed_.wait_for(lock, absl::ToChronoNanoseconds(pause),
                            [this] { return closed_; });
}

// A kit on disk may have been renewed since; one that cannot be read now is
// used as it was.
void GrpcTransport::RefreshKit() {
  if (kit_.directory.empty()) return;
  auto fresh = LoadKit(kit_.directory, PartyRole::kDevice, absl::Now());
  if (fresh.ok()) {
    kit_ = *std::move(fresh);
  } else {
    LogWarning(std::string(fresh.status().message()));
  }
}

absl::Status GrpcTransport::ServeOneStream() {
  RefreshKit();
  auto channel = MakeChannel(kit_, address_);
  auto stub = v1::Federation::NewStub(channel);
  DeviceStream stream(&mu_, &changed_);
  stream.Begin(stub.get());
  std::unique_lock<std::mutex> lock(mu_);
  channel_ = channel;
  stream_ = &stream;
  if (closed_) stream.Cancel();
  while (true) {
    DeviceStream::Event event = stream.Next();
    if (event == DeviceStream::Event::kDone) break;
    if (event == DeviceStream::Event::kNone) {
      changed_.wait(lock);
      continue;
    }
    bool wanted = !closed_;
    lock.unlock();
    if (wanted) Deliver(stream, event);
    lock.lock();
    if (event == DeviceStream::Event::kMessage) stream.ReadOn();
  }
  stream_ = nullptr;
  grpc::Status status = stream.status();
  if (status.ok()) {
    return absl::UnavailableError(fmt::format("{} ended the stream", address_));
  }
  return CallStatus(status, address_);
}

void GrpcTransport::Deliver(DeviceStream& stream, DeviceStream::Event event) {
  if (event == DeviceStream::Event::kUp) {
    listener_->OnUp();
  } else {
    listener_->OnMessage(stream.message());
  }
}

absl::Status GrpcTransport::Download(const Digest& digest, uint64_t offset,
                                     const ChunkSink& sink) {
  Call call(this, kLongestCall);
  if (call.stub == nullptr) return NotConnected();
  v1::DownloadRequest request;
  request.set_digest(digest.data(), digest.size());
  request.set_offset(offset);
  return FetchBlob(
      call.context, address_,
      [&] { return call.stub->Download(&call.context, request); }, sink,
      offset);
}

absl::StatusOr<v1::UploadStatus> GrpcTransport::Upload(
    const v1::UploadKey& key, uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset > bytes.size()) {
    return absl::InvalidArgumentError(
        fmt::format("upload from byte {} of {} bytes", offset, bytes.size()));
  }
  Call call(this, std::min(kLongestCall, TransferTime(bytes.size() - offset)));
  if (call.stub == nullptr) return NotConnected();
  v1::UploadStatus response;
  auto writer = call.stub->Upload(&call.context, &response);
  SendChunks(*writer, key, offset, bytes, [](uint64_t) {});
  grpc::Status status = writer->Finish();
  if (!status.ok()) return CallStatus(status, address_);
  return response;
}

absl::StatusOr<v1::UploadStatus> GrpcTransport::QueryUpload(
    const v1::UploadKey& key) {
  Call call(this, kUnaryTime);
  if (call.stub == nullptr) return NotConnected();
  v1::UploadStatus response;
  grpc::Status status = call.stub->QueryUpload(&call.context, key, &response);
  if (!status.ok()) return CallStatus(status, address_);
  return response;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeGrpcTransport(
    const Kit& kit, const std::string& address) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string chosen, ChooseAddress(kit, address));
  return absl::StatusOr<std::unique_ptr<Transport>>(
      std::make_unique<GrpcTransport>(kit, std::move(chosen)));
}

}  // namespace edgetune
