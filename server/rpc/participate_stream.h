#ifndef EDGETUNE_SERVER_RPC_PARTICIPATE_STREAM_H_
#define EDGETUNE_SERVER_RPC_PARTICIPATE_STREAM_H_

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "protos/edgetune/v1/federation.pb.h"
#include "server/coordinator.h"

namespace edgetune {

// One device's stream, and the channel through which the coordinator writes to
// it. Outgoing messages wait in a queue of at most 8 MiB and 1,024 messages;
// a device that lets it overflow is closed with ResourceExhausted. Incoming
// ones are read one at a time, each when the one before was handled. Life:
// Open; it then keeps itself alive until gRPC is done with it, and the
// coordinator's shared pointers may outlive that (nothing happens then).
// Thread-safe; the lock is never held while the coordinator is called.
class ParticipateStream final
    : public grpc::ServerBidiReactor<v1::ClientMessage, v1::ServerMessage>,
      public DeviceChannel,
      public std::enable_shared_from_this<ParticipateStream> {
 public:
  // The returned reactor is gRPC's to drive. A refusal of the coordinator
  // finishes the call.
  static ParticipateStream* Open(grpc::CallbackServerContext* context,
                                 const std::string& device_id,
                                 Coordinator* coordinator);

  // DeviceChannel
  void Send(const v1::ServerMessage& message) override;
  // Writes what is queued first, for at most 5 s.
  void Close(const absl::Status& reason) override;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  ParticipateStream(grpc::CallbackServerContext* context,
                    Coordinator* coordinator)
      : context_(context), coordinator_(coordinator) {}

  void CloseLocked(const absl::Status& reason);
  void Advance();
  void ReadNext();

  grpc::CallbackServerContext* const context_;
  Coordinator* const coordinator_;
  std::shared_ptr<ParticipateStream> self_;  // until OnDone
  std::optional<uint64_t> connection_;       // set before any reaction
  v1::ClientMessage incoming_;

  std::mutex mu_;
  // All below guarded by mu_. The front message is being written while
  // writing_.
  std::deque<v1::ServerMessage> queue_;
  size_t queued_bytes_ = 0;
  bool open_ = false;  // nothing may be written before the metadata
  bool writing_ = false;
  std::optional<absl::Status> closing_;
  bool finished_ = false;
  bool done_ = false;
  grpc::Alarm grace_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_RPC_PARTICIPATE_STREAM_H_
