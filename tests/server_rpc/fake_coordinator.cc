#include "tests/server_rpc/fake_coordinator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/units.h"

namespace edgetune {

void FakeCoordinator::SetDenied(std::vector<std::string> ids) {
  std::lock_guard<std::mutex> lock(mu_);
  denied_ = std::move(ids);
}

absl::StatusOr<uint64_t> FakeCoordinator::Connect(
    const std::string& device_id, std::shared_ptr<DeviceChannel> channel) {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  if (std::count(denied_.begin(), denied_.end(), device_id) > 0) {
    return absl::PermissionDeniedError("device \"" + device_id +
                                       "\" is on the deny list");
  }
  for (auto& [id, connection] : connections_) {
    if (connection.device_id != device_id) continue;
    connection.channel->Close(absl::AbortedError("the device came anew"));
  }
  connections_[next_] = {device_id, std::move(channel)};
  changed_.notify_all();
  return next_++;
}

void FakeCoordinator::Receive(uint64_t connection, v1::ClientMessage message,
                              std::function<void()> handled) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    ++calls_;
    received_.push_back(std::move(message));
    changed_.notify_all();
    if (hold_) {
      held_.push_back(std::move(handled));
      most_held_ = std::max(most_held_, held_.size());
      return;
    }
  }
  handled();
}

void FakeCoordinator::Disconnect(uint64_t connection) {
  std::lock_guard<std::mutex> lock(mu_);
  connections_.erase(connection);
  changed_.notify_all();
}

absl::Status FakeCoordinator::AuthorizeDownload(const std::string& device_id,
                                                const Digest& digest) {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> FakeCoordinator::AuthorizeUpload(
    const std::string& device_id, const v1::UploadKey& key) {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  if (uploads_closed_) return absl::FailedPreconditionError("late");
  return "update-" + device_id + "-" + ToHex(key.sha256());
}

void FakeCoordinator::CountDownload(const std::string& device_id,
                                    const Digest& digest, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  bytes_down_ += bytes;
}

void FakeCoordinator::CountUpload(const std::string& device_id,
                                  uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  bytes_up_ += bytes;
  changed_.notify_all();
}

absl::StatusOr<v1::RunStatus> FakeCoordinator::Submit(
    const v1::Envelope& plan) {
  v1::RunStatus run;
  run.set_run_id(Sha256Bytes(plan.payload()));
  run.set_state(v1::RunStatus::QUEUED);
  SetRun(run);
  return run;
}

std::vector<v1::RunStatus> FakeCoordinator::List() {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  std::vector<v1::RunStatus> runs;
  for (const auto& [id, run] : runs_) runs.push_back(run);
  return runs;
}

absl::StatusOr<v1::RunStatus> FakeCoordinator::Show(const std::string& run_id) {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  auto found = runs_.find(run_id);
  if (found == runs_.end()) return absl::NotFoundError("no such run");
  return found->second;
}

absl::StatusOr<v1::RunStatus> FakeCoordinator::Override(
    const v1::Envelope& envelope) {
  v1::SpentOverride document;
  if (!document.ParseFromString(envelope.payload())) {
    return absl::InvalidArgumentError("not an override");
  }
  return Show(document.plan_digest());
}

absl::StatusOr<v1::RunStatus> FakeCoordinator::StopRun(
    const std::string& run_id) {
  auto run = Show(run_id);
  if (!run.ok()) return run;
  run->set_state(v1::RunStatus::STOPPED);
  SetRun(*run);
  return run;
}

absl::StatusOr<uint64_t> FakeCoordinator::Watch(
    const std::string& run_id,
    std::function<void(const v1::RunStatus&)> on_change) {
  std::lock_guard<std::mutex> lock(mu_);
  ++calls_;
  auto found = runs_.find(run_id);
  if (found == runs_.end()) return absl::NotFoundError("no such run");
  on_change(found->second);
  watches_[next_] = std::move(on_change);
  return next_++;
}

void FakeCoordinator::Unwatch(uint64_t watch) {
  std::function<void(const v1::RunStatus&)> dropped;
  std::lock_guard<std::mutex> lock(mu_);
  dropped = std::move(watches_[watch]);
  watches_.erase(watch);
  changed_.notify_all();
}

int FakeCoordinator::calls() const {
  std::lock_guard<std::mutex> lock(mu_);
  return calls_;
}

uint64_t FakeCoordinator::bytes_down() const {
  std::lock_guard<std::mutex> lock(mu_);
  return bytes_down_;
}

uint64_t FakeCoordinator::bytes_up() const {
  std::lock_guard<std::mutex> lock(mu_);
  return bytes_up_;
}

void FakeCoordinator::SetRun(const v1::RunStatus& run) {
  std::lock_guard<std::mutex> lock(mu_);
  runs_[run.run_id()] = run;
  for (auto& [id, on_change] : watches_) on_change(run);
}

void FakeCoordinator::CloseUploads() {
  std::lock_guard<std::mutex> lock(mu_);
  uploads_closed_ = true;
}

std::shared_ptr<DeviceChannel> FakeCoordinator::ChannelOf(
    const std::string& device_id) {
  std::lock_guard<std::mutex> lock(mu_);
  std::shared_ptr<DeviceChannel> newest;
  for (auto& [id, connection] : connections_) {
    if (connection.device_id == device_id) newest = connection.channel;
  }
  return newest;
}

bool FakeCoordinator::Wait(const std::function<bool()>& done) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, std::chrono::seconds(20), done);
}

bool FakeCoordinator::WaitConnected(const std::string& device_id,
                                    bool connected) {
  return Wait([&] {
    return std::any_of(connections_.begin(), connections_.end(),
                       [&](const auto& entry) {
                         return entry.second.device_id == device_id;
                       }) == connected;
  });
}

bool FakeCoordinator::WaitReceived(size_t messages) {
  return Wait([&] { return received_.size() >= messages; });
}

void FakeCoordinator::HoldMessages() {
  std::lock_guard<std::mutex> lock(mu_);
  hold_ = true;
}

void FakeCoordinator::HandleHeld() {
  std::vector<std::function<void()>> held;
  {
    std::lock_guard<std::mutex> lock(mu_);
    held.swap(held_);
  }
  for (const auto& handled : held) handled();
}

size_t FakeCoordinator::most_held() const {
  std::lock_guard<std::mutex> lock(mu_);
  return most_held_;
}

bool FakeCoordinator::WaitUnwatched() {
  return Wait([&] { return watches_.empty(); });
}

v1::ClientMessage FakeCoordinator::Received(size_t index) const {
  std::lock_guard<std::mutex> lock(mu_);
  return received_.at(index);
}

}  // namespace edgetune
