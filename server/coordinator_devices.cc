// The coordinator's devices: streams, the idle pool, and who is asked.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "server/coordinator_loop.h"
#include "server/message_check.h"

namespace edgetune {
namespace {

// Idle devices say hello again after this time or, where there are many, so
// late that these come in a second (pace steering: Bonawitz et al. 2019).
constexpr uint64_t kComeBackMs = 5000;
constexpr uint64_t kHellosASecond = 20;

absl::Status NotServed(std::string message) {
  return Annotate(absl::PermissionDeniedError(message), ErrorKind::kIdentity,
                  "ask the operator of the coordinator");
}

}  // namespace

// Whether this server serves the device now.
absl::Status CoordinatorLoop::CheckAdmitted(const std::string& device) const {
  if (denied_.count(device)) {
    return NotServed(
        fmt::format("device {} is on this server's deny list", device));
  }
  if (roster_ != nullptr && !roster_->Admits(device)) {
    return NotServed(
        fmt::format("device {} is revoked, or not in version {} of the roster",
                    device, roster_->head.version()));
  }
  return absl::OkStatus();
}

void CoordinatorLoop::SetRoster(std::shared_ptr<const PublishedRoster> roster) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    roster_ = std::move(roster);
  }
  Push({[this](absl::Time now) { ApplyDenied(now); }, nullptr});
}

void CoordinatorLoop::SetDenied(std::vector<std::string> device_ids) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    denied_ = {device_ids.begin(), device_ids.end()};
  }
  Push({[this](absl::Time now) { ApplyDenied(now); }, nullptr});
}

absl::StatusOr<uint64_t> CoordinatorLoop::Connect(
    const std::string& device_id, std::shared_ptr<DeviceChannel> channel) {
  uint64_t connection;
  {
    std::lock_guard<std::mutex> lock(mu_);
    EDGETUNE_RETURN_IF_ERROR(CheckAdmitted(device_id));
    connection = next_id_++;
  }
  const bool queued = Push({[this, device_id, connection, channel](absl::Time) {
                              HandleConnected(device_id, connection, channel);
                            },
                            nullptr});
  if (!queued) return absl::UnavailableError("server is stopping");
  return connection;
}

void CoordinatorLoop::Receive(uint64_t connection, v1::ClientMessage message,
                              std::function<void()> handled) {
  const bool queued =
      Push({[this, connection, message = std::move(message)](absl::Time now) {
              HandleMessage(connection, message, now);
            },
            [handled](bool) { handled(); }});
  if (!queued) handled();
}

void CoordinatorLoop::Disconnect(uint64_t connection) {
  Push({[this, connection](absl::Time now) {
          HandleDisconnected(connection, now);
        },
        nullptr});
}

void CoordinatorLoop::HandleConnected(const std::string& id,
                                      uint64_t connection,
                                      std::shared_ptr<DeviceChannel> channel) {
  const absl::Status admitted = CheckAdmitted(id);
  if (!admitted.ok()) {
    closes_.push_back([channel, admitted] { channel->Close(admitted); });
    return;
  }
  CloseDevice(id, absl::AbortedError("the device connected again"));
  Device& device = devices_[id];
  device.connection = connection;
  device.channel = std::move(channel);
  connections_[connection] = id;
}

void CoordinatorLoop::CloseDevice(const std::string& id, absl::Status reason) {
  auto it = devices_.find(id);
  if (it == devices_.end()) return;
  closes_.push_back(
      [channel = it->second.channel, reason] { channel->Close(reason); });
  connections_.erase(it->second.connection);
  untold_.erase(id);
  devices_.erase(it);
}

void CoordinatorLoop::HandleDisconnected(uint64_t connection, absl::Time now) {
  auto it = connections_.find(connection);
  if (it == connections_.end()) return;
  const std::string id = it->second;
  connections_.erase(it);
  untold_.erase(id);
  devices_.erase(id);
  if (Run* run = OpenRunOf(id)) run->StreamDown(id, now, batch_);
}

void CoordinatorLoop::ApplyDenied(absl::Time now) {
  // Those without a stream too: their sessions are over.
  std::set<std::string> refused = denied_;
  if (roster_ != nullptr) {
    for (const v1::RosterEntry& entry : roster_->roster.entries()) {
      if (entry.status() != v1::RosterEntry::ACTIVE) {
        refused.insert(entry.name());
      }
    }
  }
  for (const auto& [id, device] : devices_) {
    if (!CheckAdmitted(id).ok()) refused.insert(id);
  }
  for (const std::string& id : refused) {
    CloseDevice(id, CheckAdmitted(id));
    if (Run* run = OpenRunOf(id)) run->Deny(id, now, batch_);
  }
}

void CoordinatorLoop::HandleMessage(uint64_t connection,
                                    v1::ClientMessage message, absl::Time now) {
  auto it = connections_.find(connection);
  if (it == connections_.end()) return;
  const std::string id = it->second;
  absl::Status status = CheckAdmitted(id);
  if (!status.ok()) return ApplyDenied(now);
  status = CheckClientMessage(message);
  if (status.ok() && !devices_[id].greeted && !message.has_hello()) {
    status = absl::FailedPreconditionError("a stream begins with hello");
  }
  if (status.ok()) return Dispatch(id, message, now);
  LogWarning(fmt::format("device {}: stream closed: {}", id,
                         std::string(status.message())));
  CloseDevice(id, status);
  if (Run* run = OpenRunOf(id)) run->StreamDown(id, now, batch_);
}

void CoordinatorLoop::Dispatch(const std::string& id,
                               const v1::ClientMessage& message,
                               absl::Time now) {
  if (message.has_hello()) return HandleHello(id, message.hello(), now);
  const v1::SessionKey& key =
      message.has_accepted()   ? message.accepted().session()
      : message.has_declined() ? message.declined().session()
      : message.has_progress() ? message.progress().session()
      : message.has_report()   ? message.report().session()
                               : message.secagg().session();
  Run* run = FindRun(key.run_id());
  if (message.has_accepted()) {
    if (run != nullptr) run->HandleAccepted(id, key);
  } else if (message.has_progress()) {
    if (run != nullptr) run->HandleProgress(id, message.progress());
  } else if (run == nullptr) {
    AnswerUnknown(id, key);
  } else if (message.has_declined()) {
    run->HandleDeclined(id, message.declined(), now, batch_);
  } else if (message.has_report()) {
    run->HandleReport(id, message.report(), now, batch_);
  } else {
    run->HandleSecAgg(id, message.secagg(), now, batch_);
  }
}

void CoordinatorLoop::HandleHello(const std::string& id, const v1::Hello& hello,
                                  absl::Time now) {
  Device& device = devices_[id];
  device.greeted = true;
  device.population = hello.population();
  Run* open = OpenRunOf(id);
  const bool resumes_open =
      open != nullptr && hello.has_resume() && open->IsCurrent(hello.resume());
  if (hello.has_resume() && !resumes_open) {
    if (Run* named = FindRun(hello.resume().run_id())) {
      named->AnswerEnded(id, hello.resume(), batch_);
    } else {
      AnswerUnknown(id, hello.resume());
    }
  }
  if (open != nullptr && !resumes_open &&
      open->LeaveIfMasking(id, now, batch_)) {
    open = nullptr;
  }
  if (open != nullptr) {
    // Also for a client that forgot its session: it begins again.
    open->StreamUp(id, now, batch_);
    device.idle = false;
    untold_.erase(id);
    return;
  }
  // After an outcome the client says again that it is free.
  if (hello.has_resume() && !device.idle) return;
  untold_.insert(id);
  if (hello.has_resume()) return;
  if (!device.idle) device.since = next_id_++;
  device.idle = true;
}

void CoordinatorLoop::AnswerUnknown(const std::string& id,
                                    const v1::SessionKey& key) {
  v1::ServerMessage message;
  v1::Outcome& outcome = *message.mutable_outcome();
  *outcome.mutable_session() = key;
  outcome.set_result(v1::Outcome::CANCELLED);
  outcome.set_detail("this server has no such run");
  batch_.messages.push_back({id, std::move(message)});
}

// --- selection

// Runs in order of their last turn, so that each gets devices; a run takes
// nothing before its selection closes, so two runs never hold halves of one
// pool.
void CoordinatorLoop::OfferIdle(absl::Time now) {
  std::vector<Run*> wanting;
  for (auto& run : runs_) {
    if (run->IsPaused()) {
      run->OfferWhilePaused(IdleOf(run->plan().fleet().population()), now,
                            batch_);
    }
    if (run->IsSelecting()) wanting.push_back(run.get());
  }
  std::stable_sort(wanting.begin(), wanting.end(), [](Run* a, Run* b) {
    return a->row().turn < b->row().turn;
  });
  std::set<std::string> reserved;
  for (Run* run : wanting) OfferTo(*run, reserved, now);
  TellIdle();
}

void CoordinatorLoop::OfferTo(Run& run, std::set<std::string>& reserved,
                              absl::Time now) {
  std::vector<std::string> idle;
  for (std::string& id : IdleOf(run.plan().fleet().population())) {
    if (!reserved.count(id)) idle.push_back(std::move(id));
  }
  for (const std::string& id :
       run.Offer(idle, BusyOf(run), next_turn_, now, batch_)) {
    devices_[id].idle = false;
    untold_.erase(id);
    last_run_[id] = run.id();
  }
  ++next_turn_;
  for (size_t i = 0; i < std::min(run.Reserved(), idle.size()); ++i) {
    reserved.insert(idle[i]);
  }
}

void CoordinatorLoop::TellIdle() {
  if (untold_.empty()) return;
  std::set<std::string> wanted;
  for (auto& run : runs_) {
    if (run->IsSelecting()) wanted.insert(run->plan().fleet().population());
  }
  const auto idle = static_cast<uint64_t>(
      std::count_if(devices_.begin(), devices_.end(),
                    [](const auto& device) { return device.second.idle; }));
  const uint64_t after_ms = std::max(kComeBackMs, idle * 1000 / kHellosASecond);
  std::erase_if(untold_, [&](const std::string& id) {
    const std::string& population = devices_[id].population;
    if (wanted.count(population)) return false;
    v1::ServerMessage message;
    message.mutable_come_back()->set_after_ms(after_ms);
    message.mutable_come_back()->set_reason(fmt::format(
        "no run wants a device of population \"{}\" now", population));
    batch_.messages.push_back({id, std::move(message)});
    return true;
  });
}

std::vector<std::string> CoordinatorLoop::IdleOf(
    const std::string& population) const {
  std::vector<std::pair<uint64_t, std::string>> found;
  for (const auto& [id, device] : devices_) {
    if (device.idle && device.population == population &&
        CheckAdmitted(id).ok()) {
      found.emplace_back(device.since, id);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> ids;
  for (auto& [since, id] : found) ids.push_back(std::move(id));
  return ids;
}

size_t CoordinatorLoop::BusyOf(const Run& run) const {
  size_t busy = 0;
  for (const auto& other : runs_) {
    if (other.get() != &run &&
        other->plan().fleet().population() == run.plan().fleet().population()) {
      busy += other->CountOpen();
    }
  }
  return busy;
}

Run* CoordinatorLoop::OpenRunOf(const std::string& device) const {
  for (const auto& run : runs_) {
    if (run->HasOpen(device)) return run.get();
  }
  return nullptr;
}

Run* CoordinatorLoop::FindRun(const std::string& run_id) const {
  for (const auto& run : runs_) {
    if (run->id() == run_id) return run.get();
  }
  return nullptr;
}

// --- data plane

absl::Status CoordinatorLoop::AuthorizeDownload(const std::string& device_id,
                                                const Digest& digest) {
  std::lock_guard<std::mutex> lock(mu_);
  EDGETUNE_RETURN_IF_ERROR(CheckAdmitted(device_id));
  const Run* run = OpenRunOf(device_id);
  if (run != nullptr && run->Serves(digest)) return absl::OkStatus();
  return absl::NotFoundError(
      "no such blob for the current assignment of this device");
}

absl::StatusOr<std::string> CoordinatorLoop::AuthorizeUpload(
    const std::string& device_id, const v1::UploadKey& key) {
  EDGETUNE_RETURN_IF_ERROR(CheckSessionKey(key.session()));
  Run* run;  // stays as long as the coordinator
  {
    std::lock_guard<std::mutex> lock(mu_);
    EDGETUNE_RETURN_IF_ERROR(CheckAdmitted(device_id));
    run = FindRun(key.session().run_id());
    if (run == nullptr) {
      return absl::FailedPreconditionError("late: this server has no such run");
    }
    EDGETUNE_RETURN_IF_ERROR(run->CheckUpload(device_id, key));
    if (run->IsAnnounced(device_id, key)) return run->PartialName(device_id);
  }
  return Call<std::string>([this, run, device_id, key](absl::Time) {
    return run->Announce(device_id, key, batch_);
  });
}

void CoordinatorLoop::CountDownload(const std::string& device_id,
                                    const Digest& digest, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  if (Run* run = RunToCount(device_id)) run->CountDownload(digest, bytes);
}

void CoordinatorLoop::CountUpload(const std::string& device_id,
                                  uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mu_);
  if (Run* run = RunToCount(device_id)) run->CountUpload(bytes);
}

// A transfer may be counted just after its session has ended.
Run* CoordinatorLoop::RunToCount(const std::string& device) const {
  if (Run* open = OpenRunOf(device)) return open;
  auto it = last_run_.find(device);
  return it == last_run_.end() ? nullptr : FindRun(it->second);
}

}  // namespace edgetune
