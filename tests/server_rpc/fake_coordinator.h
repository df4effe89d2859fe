#ifndef EDGETUNE_TESTS_SERVER_RPC_FAKE_COORDINATOR_H_
#define EDGETUNE_TESTS_SERVER_RPC_FAKE_COORDINATOR_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/coordinator.h"

namespace edgetune {

// Remembers who called and lets a test speak to the connected devices. Streams
// and watches behave as the Coordinator's comment says; runs are what a test
// puts into `runs`. Thread-safe.
class FakeCoordinator final : public Coordinator {
 public:
  void Start() override {}
  void Stop() override {}
  void Step() override {}
  absl::Time NextTimer() const override { return absl::InfiniteFuture(); }
  void SetDenied(std::vector<std::string> ids) override;
  void SetRoster(std::shared_ptr<const PublishedRoster>) override {}

  absl::StatusOr<uint64_t> Connect(
      const std::string& device_id,
      std::shared_ptr<DeviceChannel> channel) override;
  void Receive(uint64_t connection, v1::ClientMessage message,
               std::function<void()> handled) override;
  void Disconnect(uint64_t connection) override;

  absl::Status AuthorizeDownload(const std::string& device_id,
                                 const Digest& digest) override;
  absl::StatusOr<std::string> AuthorizeUpload(
      const std::string& device_id, const v1::UploadKey& key) override;
  void CountDownload(const std::string& device_id, const Digest& digest,
                     uint64_t bytes) override;
  void CountUpload(const std::string& device_id, uint64_t bytes) override;

  absl::StatusOr<v1::RunStatus> Submit(const v1::Envelope& plan) override;
  std::vector<v1::RunStatus> List() override;
  absl::StatusOr<v1::RunStatus> Show(const std::string& run_id) override;
  absl::StatusOr<v1::RunStatus> StopRun(const std::string& run_id) override;
  absl::StatusOr<v1::RunStatus> Override(
      const v1::Envelope& envelope) override;
  absl::StatusOr<uint64_t> Watch(
      const std::string& run_id,
      std::function<void(const v1::RunStatus&)> on_change) override;
  void Unwatch(uint64_t watch) override;

  // --- for tests
  int calls() const;
  uint64_t bytes_down() const;
  uint64_t bytes_up() const;
  void SetRun(const v1::RunStatus& run);
  // Uploads are refused from now on, as when a round has closed.
  void CloseUploads();
  // The newest channel of a device; null when it is not connected.
  std::shared_ptr<DeviceChannel> ChannelOf(const std::string& device_id);
  // False when it did not come to be within 20 s.
  bool WaitConnected(const std::string& device_id, bool connected = true);
  bool WaitReceived(size_t messages);
  bool WaitUnwatched();
  // From now on messages are handled by HandleHeld alone.
  void HoldMessages();
  void HandleHeld();
  // How many waited to be handled at any one time.
  size_t most_held() const;
  v1::ClientMessage Received(size_t index) const;

 private:
  struct Connection {
    std::string device_id;
    std::shared_ptr<DeviceChannel> channel;
  };
  bool Wait(const std::function<bool()>& done);

  mutable std::mutex mu_;
  std::condition_variable changed_;
  int calls_ = 0;
  uint64_t next_ = 1;
  uint64_t bytes_down_ = 0;
  uint64_t bytes_up_ = 0;
  bool uploads_closed_ = false;
  std::vector<std::string> denied_;
  std::map<uint64_t, Connection> connections_;
  std::vector<v1::ClientMessage> received_;
  bool hold_ = false;
  size_t most_held_ = 0;
  std::vector<std::function<void()>> held_;
  std::map<std::string, v1::RunStatus> runs_;
  std::map<uint64_t, std::function<void(const v1::RunStatus&)>> watches_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_RPC_FAKE_COORDINATOR_H_
