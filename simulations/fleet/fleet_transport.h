#ifndef EDGETUNE_SIMULATIONS_FLEET_FLEET_TRANSPORT_H_
#define EDGETUNE_SIMULATIONS_FLEET_FLEET_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/transport.h"
#include "server/coordinator.h"
#include "simulations/fleet/event_queue.h"
#include "storage/memory_blobs.h"

namespace edgetune {

class VirtualClock;

// One device's connection in virtual time: a message takes the device's latency
// each way, and blobs pass from store to store at once (how long that takes is
// the device's to wait). Progress, which is for people only, is not sent. One
// thread, that of the fleet, but for Send of progress. Borrows everything.
class FleetTransport final : public Transport {
 public:
  struct Network {
    EventQueue* queue;
    VirtualClock* clock;
    Coordinator* coordinator;
    MemoryBlobStore* blobs;  // the coordinator's
    // Set when it sends an assignment or an outcome: a run went on.
    bool* went_on;
  };
  // Who is told, beside the listener; `deliver` after each callback.
  struct Taps {
    std::function<void(const v1::ClientMessage&)> on_send;
    std::function<void(const v1::ServerMessage&)> on_receive;
    std::function<void()> deliver;
  };
  FleetTransport(Network network, std::string device_id, absl::Duration latency,
                 Taps taps);
  ~FleetTransport() override;

  absl::Status Start(Listener* listener) override;
  void Close() override;
  void Send(const v1::ClientMessage& message) override;
  absl::Status Download(
      const Digest& digest, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t> data,
                                       uint64_t total_size)>& sink) override;
  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) override;
  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override;

  // A part that is here already crossed the network, as the coordinator counts.
  void CountDownload(const Digest& digest, uint64_t bytes);
  uint64_t bytes_down() const { return bytes_down_; }
  uint64_t bytes_up() const { return bytes_up_; }

 private:
  class Stream;

  void Connect();
  void Deliver();
  void Later(absl::Duration wait, std::function<void()> what);

  const Network network_;
  const std::string device_id_;
  const absl::Duration latency_;
  const Taps taps_;
  Listener* listener_ = nullptr;
  std::shared_ptr<Stream> stream_;  // null: down
  // Expires with Close: what is under way then never arrives.
  std::shared_ptr<const bool> alive_;
  uint64_t bytes_down_ = 0, bytes_up_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_FLEET_TRANSPORT_H_
