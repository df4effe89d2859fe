#include "server/coordinator.h"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "server/coordinator_loop.h"
#include "server/run_rows.h"

namespace edgetune {

const std::vector<std::string>& Coordinator::Migrations() {
  return CoordinatorMigrations();
}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Make(
    Dependencies dependencies) {
  if (!dependencies.fatal) {
    dependencies.fatal = [](const absl::Status& status) {
      LogError("cannot go on: " + std::string(status.message()));
      std::abort();
    };
  }
  auto loop = std::make_unique<CoordinatorLoop>(std::move(dependencies));
  EDGETUNE_RETURN_IF_ERROR(loop->Recover());
  return loop;
}

Run::Stores CoordinatorLoop::Stores() {
  return {deps_.blobs, deps_.round_key, [this] { return roster_; }};
}

CoordinatorLoop::~CoordinatorLoop() {
  if (threaded_) Stop();
}

absl::Status CoordinatorLoop::Recover() {
  std::vector<StoredRun> stored;
  std::vector<Digest> unneeded;
  EDGETUNE_RETURN_IF_ERROR(
      deps_.database->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(stored, LoadRuns(transaction));
        EDGETUNE_ASSIGN_OR_RETURN(unneeded, LoadUnneeded(transaction));
        return absl::OkStatus();
      }));
  std::lock_guard<std::mutex> lock(mu_);
  const absl::Time now = deps_.clock->Now();
  for (StoredRun& run : stored) {
    next_turn_ = std::max(next_turn_, run.row.turn + 1);
    EDGETUNE_ASSIGN_OR_RETURN(runs_.emplace_back(),
                              Run::Recover(Stores(), std::move(run), now,
                                           batch_));
  }
  batch_.unneeded = std::move(unneeded);
  EDGETUNE_RETURN_IF_ERROR(AddStrayPartials());
  EDGETUNE_RETURN_IF_ERROR(Commit());
  RemoveUnneeded();
  batch_ = Batch();
  return absl::OkStatus();
}

// Uploads that a crash, or the end of their round, left unfinished.
absl::Status CoordinatorLoop::AddStrayPartials() {
  EDGETUNE_ASSIGN_OR_RETURN(const auto names, deps_.blobs->ListPartials());
  for (const std::string& name : names) {
    const bool awaited =
        std::any_of(runs_.begin(), runs_.end(),
                    [&](const auto& run) { return run->AwaitsPartial(name); });
    if (Run::IsUpdatePartial(name) && !awaited) batch_.partials.push_back(name);
  }
  return absl::OkStatus();
}

// --- queue and thread

bool CoordinatorLoop::Push(Item item) {
  std::lock_guard<std::mutex> lock(queue_mu_);
  if (closed_) return false;
  queue_.push_back(std::move(item));
  queue_cv_.notify_one();
  return true;
}

bool CoordinatorLoop::Await(std::function<void(absl::Time)> handle) {
  auto done = std::make_shared<std::promise<bool>>();
  std::future<bool> committed = done->get_future();
  const bool queued =
      Push({std::move(handle), [done](bool ok) { done->set_value(ok); }});
  if (!queued) return false;
  if (!threaded_) Step();
  return committed.get();
}

void CoordinatorLoop::Start() {
  threaded_ = true;
  thread_ = std::thread([this] { ThreadBody(); });
}

void CoordinatorLoop::ThreadBody() {
  while (true) {
    Step();
    const absl::Time timer = NextTimer();
    std::unique_lock<std::mutex> lock(queue_mu_);
    if (closed_ && queue_.empty()) return;
    const absl::Duration wait = std::clamp(
        timer - deps_.clock->Now(), absl::ZeroDuration(), absl::Hours(1));
    queue_cv_.wait_for(lock, absl::ToChronoNanoseconds(wait),
                       [this] { return closed_ || !queue_.empty(); });
  }
}

void CoordinatorLoop::Stop() {
  {
    std::lock_guard<std::mutex> lock(queue_mu_);
    if (closed_) return;
    closed_ = true;
    queue_cv_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  threaded_ = false;
  Step();
  std::map<std::string, Device> devices;
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    devices.swap(devices_);
    connections_.clear();
  }
  for (auto& [id, device] : devices) {
    device.channel->Close(absl::UnavailableError("server is stopping"));
  }
}

void CoordinatorLoop::Step() {
  std::lock_guard<std::recursive_mutex> step(step_mu_);
  while (StepOnce()) {
  }
}

// Returns whether more came in meanwhile.
bool CoordinatorLoop::StepOnce() {
  std::vector<Item> items;
  {
    std::lock_guard<std::mutex> lock(queue_mu_);
    items.swap(queue_);
  }
  Effects effects;
  {
    std::lock_guard<std::mutex> lock(mu_);
    const absl::Time now = deps_.clock->Now();
    if (dead_) {
      Fail(absl::UnavailableError("the server is stopping"), items);
      return false;
    }
    for (auto& run : runs_) run->Tick(now, batch_);
    for (Item& item : items) {
      if (item.handle) item.handle(now);
    }
    OfferIdle(now);
    const absl::Status committed = Commit();
    if (!committed.ok()) {
      Fail(committed, items);
      return false;
    }
    RemoveUnneeded();
    effects = TakeEffects(items);
    batch_ = Batch();
  }
  for (auto& effect : effects) effect();
  std::lock_guard<std::mutex> lock(queue_mu_);
  return !queue_.empty();
}

absl::Status CoordinatorLoop::Commit() {
  for (auto& run : runs_) run->Save(batch_);
  EDGETUNE_RETURN_IF_ERROR(batch_.failure);
  if (batch_.writes.empty()) return absl::OkStatus();
  for (const Digest& digest : forgotten_) ForgetUnneeded(digest, batch_);
  EDGETUNE_RETURN_IF_ERROR(
      deps_.database->Run([&](Transaction& transaction) -> absl::Status {
        for (const Batch::Write& write : batch_.writes) {
          EDGETUNE_RETURN_IF_ERROR(
              transaction.Execute(write.sql, write.arguments));
        }
        return absl::OkStatus();
      }));
  forgotten_.clear();
  return absl::OkStatus();
}

void CoordinatorLoop::Fail(const absl::Status& status,
                           const std::vector<Item>& items) {
  if (!dead_) {
    dead_ = true;
    deps_.fatal(Prefix(status, "committing"));
  }
  for (const Item& item : items) {
    if (item.done) item.done(false);
  }
}

// After the commit that named them, before anyone can be told to upload again.
void CoordinatorLoop::RemoveUnneeded() {
  for (const std::string& name : batch_.partials) {
    if (auto s = deps_.blobs->DropPartial(name); !s.ok()) {
      LogWarning("cannot drop an upload: " + std::string(s.message()));
    }
  }
  for (const Digest& digest : batch_.unneeded) {
    const bool referred =
        std::any_of(runs_.begin(), runs_.end(),
                    [&](const auto& run) { return run->Refers(digest); });
    absl::Status status = absl::OkStatus();
    if (!referred) status = deps_.blobs->Remove(digest);
    if (status.ok() || absl::IsNotFound(status)) {
      forgotten_.push_back(digest);
    } else {
      LogWarning("cannot remove an update: " + std::string(status.message()));
    }
  }
}

CoordinatorLoop::Effects CoordinatorLoop::TakeEffects(
    const std::vector<Item>& items) {
  Effects effects;
  for (Batch::Message& message : batch_.messages) {
    auto it = devices_.find(message.device);
    if (it == devices_.end()) continue;
    effects.push_back(
        [channel = it->second.channel, body = std::move(message.message)] {
          channel->Send(body);
        });
  }
  for (auto& close : closes_) effects.push_back(std::move(close));
  closes_.clear();
  for (const Item& item : items) {
    if (item.done) effects.push_back([done = item.done] { done(true); });
  }
  AddWatchEffects(effects);
  return effects;
}

void CoordinatorLoop::AddWatchEffects(Effects& effects) {
  std::set<const Run*> changed;
  for (auto& run : runs_) {
    if (run->TakeChanged()) changed.insert(run.get());
  }
  for (auto& [id, watcher] : watchers_) {
    if (!watcher.pending && !changed.count(watcher.run)) continue;
    watcher.pending = false;
    // Looked up again: an earlier effect of this batch may have unwatched.
    effects.push_back([this, id = id, status = watcher.run->Status()] {
      StatusCallback on_change;
      {
        std::lock_guard<std::mutex> lock(mu_);
        auto it = watchers_.find(id);
        if (it == watchers_.end()) return;
        on_change = it->second.on_change;
      }
      on_change(status);
    });
  }
}

absl::Time CoordinatorLoop::NextTimer() const {
  std::lock_guard<std::mutex> lock(mu_);
  absl::Time next = absl::InfiniteFuture();
  for (const auto& run : runs_) next = std::min(next, run->NextTimer());
  return next;
}

}  // namespace edgetune
