#ifndef EDGETUNE_TESTS_CLIENT_GRPC_RECORDING_LISTENER_H_
#define EDGETUNE_TESTS_CLIENT_GRPC_RECORDING_LISTENER_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "client/transport.h"

namespace edgetune {

// Remembers what a transport told. Thread-safe.
class RecordingListener final : public Transport::Listener {
 public:
  void OnUp() override {
    Change([this] { ++ups_; });
  }
  void OnMessage(const v1::ServerMessage& message) override {
    Change([&] { messages_.push_back(message); });
  }
  void OnDown(const absl::Status& status) override {
    Change([&] { downs_.push_back(status); });
  }

  // False when it did not come to be within 20 s.
  bool WaitUps(size_t n) {
    return Wait([&] { return ups_ >= n; });
  }
  bool WaitMessages(size_t n) {
    return Wait([&] { return messages_.size() >= n; });
  }
  bool WaitDowns(size_t n) {
    return Wait([&] { return downs_.size() >= n; });
  }
  size_t ups() {
    std::lock_guard<std::mutex> lock(mu_);
    return ups_;
  }
  std::vector<v1::ServerMessage> messages() {
    std::lock_guard<std::mutex> lock(mu_);
    return messages_;
  }
  std::vector<absl::Status> downs() {
    std::lock_guard<std::mutex> lock(mu_);
    return downs_;
  }

 private:
  void Change(const std::function<void()>& change) {
    std::lock_guard<std::mutex> lock(mu_);
    change();
    changed_.notify_all();
  }
  bool Wait(const std::function<bool()>& done) {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(20), done);
  }

  std::mutex mu_;
  std::condition_variable changed_;
  size_t ups_ = 0;
  std::vector<v1::ServerMessage> messages_;
  std::vector<absl::Status> downs_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_CLIENT_GRPC_RECORDING_LISTENER_H_
