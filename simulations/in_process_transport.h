#ifndef EDGETUNE_SIMULATIONS_IN_PROCESS_TRANSPORT_H_
#define EDGETUNE_SIMULATIONS_IN_PROCESS_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/transport.h"
#include "server/coordinator.h"
#include "storage/blob_store.h"

namespace edgetune {

class InProcessStream;

// The network between one coordinator and the devices of a process. The
// coordinator may go and another come (a crash and restart): Detach breaks
// every stream, and calls are Unavailable until the next Attach. Thread-safe;
// borrows what is attached until Detach has returned.
class InProcessNetwork {
 public:
  void Attach(Coordinator* coordinator, BlobStore* blobs);
  // Waits for calls in progress.
  void Detach();

  // Runs `call` while what is attached stays attached. Unavailable: nothing
  // is.
  absl::Status Call(
      const std::function<absl::Status(Coordinator&, BlobStore&)>& call);
  // Connects `stream` as `device_id`; the connection's number.
  absl::StatusOr<uint64_t> Connect(const std::string& device_id,
                                   std::shared_ptr<InProcessStream> stream);

 private:
  std::shared_mutex mu_;  // shared by calls, exclusive for attach and detach
  Coordinator* coordinator_ = nullptr;
  BlobStore* blobs_ = nullptr;
  std::mutex streams_mu_;
  std::vector<std::weak_ptr<InProcessStream>> streams_;
};

// Transport to the coordinator of an InProcessNetwork: messages of both sides
// wait in queues and are carried by this transport's own thread, so that no
// callback ever runs inside the coordinator. Bulk bytes go
// between the blob stores in chunks of 256 KiB, as on the wire. Reconnects
// every few milliseconds. Borrows the network.
//
// Faults, for tests: a transfer that breaks at a byte, a stream that is cut.
class InProcessTransport final : public Transport {
 public:
  InProcessTransport(InProcessNetwork* network, std::string device_id);
  ~InProcessTransport() override;

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

  // The nth transfer from now (0 the next; downloads and uploads counted
  // together) breaks after `bytes` bytes.
  void FailTransfer(uint64_t nth, uint64_t bytes);
  // Breaks the stream, as a lost network would; it is opened again.
  void CutStream();
  // Bytes that crossed in both directions so far.
  uint64_t bytes_moved() const;

 private:
  void Loop();
  // One connection's life; how it ended.
  absl::Status Serve();
  // Carries messages both ways until the stream is closed; why it was.
  absl::Status Carry(const std::shared_ptr<InProcessStream>& stream,
                     uint64_t connection);
  bool closing() const;
  // How many bytes the transfer that begins may move.
  uint64_t TakeAllowance();
  void CountMoved(uint64_t bytes);

  InProcessNetwork* const network_;
  const std::string device_id_;
  Listener* listener_ = nullptr;
  std::thread thread_;

  mutable std::mutex mu_;
  bool closing_ = false;                     // guarded by mu_
  std::shared_ptr<InProcessStream> stream_;  // guarded by mu_; null: down
  uint64_t transfers_ = 0;                   // guarded by mu_
  std::map<uint64_t, uint64_t> failures_;    // guarded by mu_
  uint64_t bytes_moved_ = 0;                 // guarded by mu_
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_IN_PROCESS_TRANSPORT_H_
