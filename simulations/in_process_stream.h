#ifndef EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_
#define EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/coordinator.h"

namespace edgetune {

// What one connection carries from the coordinator to its device. Life: Send
// any number of times, Close; Take empties it and then tells why it was
// closed. Thread-safe. Nothing sent after Close arrives.
class InProcessStream final : public DeviceChannel {
 public:
  void Send(const v1::ServerMessage& message) override;
  void Close(const absl::Status& reason) override;

  // Waits for the next message; the reason once closed and empty.
  absl::StatusOr<v1::ServerMessage> Take();
  bool closed() const;

 private:
  mutable std::mutex mu_;
  std::condition_variable changed_;
  std::deque<v1::ServerMessage> messages_;  // guarded by mu_
  std::optional<absl::Status> closed_;      // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_IN_PROCESS_STREAM_H_
