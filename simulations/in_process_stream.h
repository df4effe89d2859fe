#ifndef EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_
#define EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/coordinator.h"

namespace edgetune {

// What one connection carries between the coordinator and its device, read by
// one thread: the coordinator's messages as they come, the device's one at a
// time, the next when the coordinator has handled the one before. Life: Send
// and Say any number of times, Close; what the coordinator sent before Close
// is still taken, what the device said is not. Thread-safe.
class InProcessStream final : public DeviceChannel {
 public:
  void Send(const v1::ServerMessage& message) override;
  void Close(const absl::Status& reason) override;

  // From the device.
  void Say(const v1::ClientMessage& message);
  // The coordinator is done with the message of the device that was taken.
  void Handled();

  // For the device or for the coordinator.
  using Message = std::variant<v1::ServerMessage, v1::ClientMessage>;
  // Waits for the next message; the reason once closed and empty.
  absl::StatusOr<Message> Take();
  bool closed() const;

 private:
  bool MaySay() const { return !said_.empty() && !in_hand_; }

  mutable std::mutex mu_;
  std::condition_variable changed_;
  // All below guarded by mu_.
  std::deque<v1::ServerMessage> sent_;
  std::deque<v1::ClientMessage> said_;
  bool in_hand_ = false;  // the coordinator has one that the device said
  std::optional<absl::Status> closed_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_
