#ifndef EDGETUNE_SERVER_COORDINATOR_LOOP_H_
#define EDGETUNE_SERVER_COORDINATOR_LOOP_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "server/batch.h"
#include "server/coordinator.h"
#include "server/run.h"

namespace edgetune {

// The one Coordinator. What changes state goes through a queue; Step takes
// all of it as one batch: timers, then items in order, then idle devices are
// offered to runs, then one transaction, then messages and answers.
//
// Locks, taken in this order: step_mu_ (one batch at a time, held through the
// callbacks and messages that follow it), mu_ (all state below it; free while
// messages go out, so that a channel or callback may call back), queue_mu_.
class CoordinatorLoop final : public Coordinator {
 public:
  explicit CoordinatorLoop(Dependencies dependencies)
      : deps_(std::move(dependencies)) {}
  ~CoordinatorLoop() override;
  absl::Status Recover();

  void Start() override;
  void Stop() override;
  void Step() override;
  absl::Time NextTimer() const override;

  void SetDenied(std::vector<std::string> device_ids) override;
  void SetRoster(std::shared_ptr<const PublishedRoster> roster) override;
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
  absl::StatusOr<v1::RunStatus> Override(const v1::Envelope& envelope) override;
  absl::StatusOr<uint64_t> Watch(
      const std::string& run_id,
      std::function<void(const v1::RunStatus&)> on_change) override;
  void Unwatch(uint64_t watch) override;

 private:
  using StatusCallback = std::function<void(const v1::RunStatus&)>;
  // One thing to do; `done` is told whether its batch was committed.
  struct Item {
    std::function<void(absl::Time now)> handle;
    std::function<void(bool committed)> done;
  };
  struct Device {
    uint64_t connection = 0;
    std::shared_ptr<DeviceChannel> channel;
    bool greeted = false;  // said hello on this stream
    bool idle = false;     // free, in the pool of `population`
    uint64_t since = 0;    // order of check-in
    std::string population;
  };
  struct Watcher {
    Run* run;
    StatusCallback on_change;
    bool pending = true;  // the first status is still to be sent
  };
  using Effects = std::vector<std::function<void()>>;

  // coordinator.cc: the loop
  Run::Stores Stores();
  bool Push(Item item);
  // Waits until the batch with `body` is committed. Unavailable: it is not.
  template <typename T>
  absl::StatusOr<T> Call(std::function<absl::StatusOr<T>(absl::Time)> body);
  bool Await(std::function<void(absl::Time)> handle);
  void ThreadBody();
  bool StepOnce();
  absl::Status Commit();
  void Fail(const absl::Status& status, const std::vector<Item>& items);
  Effects TakeEffects(const std::vector<Item>& items);
  void AddWatchEffects(Effects& effects);
  void RemoveUnneeded();
  absl::Status AddStrayPartials();

  // coordinator_devices.cc; all with mu_ held
  void HandleConnected(const std::string& id, uint64_t connection,
                       std::shared_ptr<DeviceChannel> channel);
  void HandleMessage(uint64_t connection, v1::ClientMessage message,
                     absl::Time now);
  void Dispatch(const std::string& id, const v1::ClientMessage& message,
                absl::Time now);
  void HandleHello(const std::string& id, const v1::Hello& hello,
                   absl::Time now);
  void HandleDisconnected(uint64_t connection, absl::Time now);
  void CloseDevice(const std::string& id, absl::Status reason);
  absl::Status CheckAdmitted(const std::string& device) const;
  void ApplyDenied(absl::Time now);
  void OfferIdle(absl::Time now);
  void OfferTo(Run& run, std::set<std::string>& reserved, absl::Time now);
  void TellIdle();
  std::vector<std::string> IdleOf(const std::string& population) const;
  size_t BusyOf(const Run& run) const;
  Run* OpenRunOf(const std::string& device) const;
  Run* FindRun(const std::string& run_id) const;
  absl::StatusOr<Run*> FindByPrefix(const std::string& prefix) const;
  Run* RunToCount(const std::string& device) const;
  void AnswerUnknown(const std::string& id, const v1::SessionKey& key);
  absl::Status CheckBlobs(const v1::TaskPlan& plan) const;

  const Dependencies deps_;

  std::recursive_mutex step_mu_;

  mutable std::mutex mu_;
  std::vector<std::unique_ptr<Run>> runs_;  // in order of submission
  std::map<std::string, Device> devices_;   // connected
  std::map<uint64_t, std::string> connections_;
  std::set<std::string> untold_;  // idle, not sent ComeBack since their hello
  std::map<std::string, std::string> last_run_;  // device -> run id
  std::set<std::string> denied_;
  std::shared_ptr<const PublishedRoster> roster_;  // null: none was set
  std::map<uint64_t, Watcher> watchers_;
  uint64_t next_id_ = 1;  // connections, watches, order of check-in
  int64_t next_turn_ = 1;
  Batch batch_;
  Effects closes_;                 // of this batch
  std::vector<Digest> forgotten_;  // removed blobs whose rows are to go
  bool dead_ = false;              // a commit failed
  bool stopped_ = false;

  std::mutex queue_mu_;
  std::condition_variable queue_cv_;
  std::vector<Item> queue_;
  bool closed_ = false;  // Stop was called

  std::atomic<bool> threaded_{false};
  std::thread thread_;
};

template <typename T>
absl::StatusOr<T> CoordinatorLoop::Call(
    std::function<absl::StatusOr<T>(absl::Time)> body) {
  const auto stopping = absl::UnavailableError("the server is stopping");
  // Shared: the queue may outlive a caller that was told to give up.
  const auto result = std::make_shared<absl::StatusOr<T>>(stopping);
  const bool committed = Await([result, body = std::move(body)](
                                   absl::Time now) { *result = body(now); });
  return committed ? *result : absl::StatusOr<T>(stopping);
}

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_COORDINATOR_LOOP_H_
