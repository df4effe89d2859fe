#ifndef EDGETUNE_CLIENT_GRPC_DEVICE_STREAM_H_
#define EDGETUNE_CLIENT_GRPC_DEVICE_STREAM_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "edgetune/v1/federation.grpc.pb.h"

namespace edgetune {

// One Participate stream, seen from the thread that serves it: gRPC's
// reactions set flags under the owner's lock and wake it; the owner takes one
// event at a time, so messages come in order and reading waits for the owner.
//
// Life: Begin, then Next until kDone, then destruction. All methods need the
// owner's lock held, unless said otherwise; mutex and condition outlive it.
class DeviceStream final
    : public grpc::ClientBidiReactor<v1::ClientMessage, v1::ServerMessage> {
 public:
  enum class Event { kNone, kUp, kMessage, kDone };

  DeviceStream(std::mutex* mu, std::condition_variable* changed)
      : mu_(mu), changed_(changed) {}

  // Without the lock: gRPC may call back at once.
  void Begin(v1::Federation::Stub* stub);

  // The next event, consumed. kMessage: it is in message() until ReadOn.
  Event Next();
  const v1::ServerMessage& message() const { return incoming_; }
  void ReadOn();
  // Queued while the stream is up, else dropped. A queue of over 1,024
  // messages breaks the stream, which is then opened again.
  void Send(const v1::ClientMessage& message);
  void Cancel() { context_.TryCancel(); }
  const grpc::Status& status() const { return status_; }  // once kDone

  // gRPC's reactions; they take the lock.
  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  void Release();

  std::mutex* const mu_;
  std::condition_variable* const changed_;
  grpc::ClientContext context_;
  v1::ServerMessage incoming_;
  std::deque<v1::ClientMessage> outgoing_;  // front is gRPC's while writing_
  bool writing_ = false;
  bool accepted_ = false;  // by the server
  bool told_up_ = false;
  bool has_message_ = false;
  bool broken_ = false;  // nothing may be started any more
  bool done_ = false;
  grpc::Status status_;
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_DEVICE_STREAM_H_
