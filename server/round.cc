#include "server/round.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace edgetune {

using EventKind = Round::Event::Kind;
using ActionKind = Round::Action::Kind;

std::string_view PhaseName(Round::Phase phase) {
  switch (phase) {
    case Round::Phase::kSelecting:
      return "selecting";
    case Round::Phase::kTraining:
      return "training";
    case Round::Phase::kFinishing:
      return "finishing";
    case Round::Phase::kCommitted:
      return "committed";
    case Round::Phase::kAbandoned:
      return "abandoned";
  }
  return "";
}

Round::Round(const Options& options, absl::Time now)
    : options_(options), select_by_(now + options.select_timeout) {}

Round Round::Resume(const Options& options,
                    const std::map<std::string, ClientState>& clients,
                    absl::Time deadline, absl::Time now) {
  Round round(options, now);
  round.phase_ = Phase::kTraining;
  round.deadline_ = deadline;
  for (const auto& [device, state] : clients) {
    round.lost_from_ = now + options.reconnect_grace;
    round.clients_[device] = {state, round.lost_from_};
    ++round.counts_[state];
  }
  return round;
}

std::vector<Round::Action> Round::Handle(const Event& event, absl::Time now) {
  Actions actions;
  switch (phase_) {
    case Phase::kSelecting:
      HandleSelecting(event, now, actions);
      break;
    case Phase::kTraining:
      HandleTraining(event, now, actions);
      break;
    case Phase::kFinishing:
      HandleFinishing(event, actions);
      break;
    case Phase::kCommitted:
    case Phase::kAbandoned:
      break;
  }
  return actions;
}

void Round::HandleSelecting(const Event& event, absl::Time now,
                            Actions& actions) {
  if (event.kind == EventKind::kStop) return Abandon(event.detail, actions);
  if (event.kind != EventKind::kPool) return;
  const size_t idle = event.idle.size();
  if (idle < options_.cohort) {
    settle_by_ = absl::InfiniteFuture();
  } else {
    settle_by_ = std::min(settle_by_, now + options_.settle);
  }
  const bool overdue = now >= select_by_;
  if (idle >= options_.asked || now >= settle_by_ ||
      (overdue && idle >= options_.quorum)) {
    return Take(event.idle, now, actions);
  }
  // Devices at work for another run come back within that run's deadline:
  // waiting for them is not a lack of clients.
  const bool waited = waits_for_busy_;
  waits_for_busy_ = overdue && idle + event.busy >= options_.quorum;
  if (overdue && !waits_for_busy_) {
    if (waited) {
      // Those that just finished elsewhere say hello in a moment.
      select_by_ = now + options_.settle;
      return;
    }
    Abandon(
        fmt::format("{} of {} clients came within {}", idle, options_.quorum,
                    absl::FormatDuration(options_.select_timeout)),
        actions);
  }
}

void Round::Take(const std::vector<std::string>& idle, absl::Time now,
                 Actions& actions) {
  const size_t count = std::min<size_t>(idle.size(), options_.asked);
  Action assign{ActionKind::kAssign};
  assign.devices.assign(idle.begin(), idle.begin() + count);
  for (const std::string& device : assign.devices) clients_[device] = {};
  counts_[ClientState::kOpen] = clients_.size();
  phase_ = Phase::kTraining;
  deadline_ = now + options_.deadline;
  actions.push_back(std::move(assign));
}

void Round::HandleTraining(const Event& event, absl::Time now,
                           Actions& actions) {
  if (event.kind == EventKind::kStop) return Abandon(event.detail, actions);
  if (event.kind == EventKind::kTimer) {
    LoseOverdue(now, actions);
    return CloseIfAnswered(actions);
  }
  if (!IsOpen(event.device)) return;
  Client& client = clients_[event.device];
  switch (event.kind) {
    case EventKind::kReport:
      if (event.detail.empty()) {
        Close(client, ClientState::kReported,
              {ActionKind::kAccept, event.device}, actions);
      } else {
        Close(client, ClientState::kRefused,
              {ActionKind::kRefuse, event.device, event.detail}, actions);
      }
      break;
    case EventKind::kDecline:
      Close(client, ClientState::kDeclined,
            {ActionKind::kDecline, event.device, event.detail}, actions);
      break;
    case EventKind::kDeny:
      Close(client, ClientState::kLost,
            {ActionKind::kLose, event.device, "the device is denied"}, actions);
      break;
    case EventKind::kUp:
      client.lost_at = absl::InfiniteFuture();
      actions.push_back({ActionKind::kRepeat, event.device});
      return;
    case EventKind::kDown:
      client.lost_at = now + options_.reconnect_grace;
      lost_from_ = std::min(lost_from_, client.lost_at);
      return;
    default:
      return;
  }
  CloseIfAnswered(actions);
}

void Round::HandleFinishing(const Event& event, Actions& actions) {
  switch (event.kind) {
    case EventKind::kStepMade:
      phase_ = Phase::kCommitted;
      actions.push_back({ActionKind::kCommit});
      return;
    case EventKind::kStepFailed:
    case EventKind::kStop:
      return Abandon(event.detail, actions);
    default:
      return;
  }
}

void Round::Close(Client& client, ClientState state, Action action,
                  Actions& actions) {
  --counts_[client.state];
  ++counts_[state];
  client.state = state;
  actions.push_back(std::move(action));
}

void Round::LoseOverdue(absl::Time now, Actions& actions) {
  if (now < std::min(deadline_, lost_from_)) return;
  lost_from_ = absl::InfiniteFuture();
  for (auto& [device, client] : clients_) {
    if (client.state != ClientState::kOpen) continue;
    if (now >= deadline_) {
      Close(client, ClientState::kLost,
            {ActionKind::kLose, device,
             fmt::format("no report within the deadline of {}",
                         absl::FormatDuration(options_.deadline))},
            actions);
    } else if (now >= client.lost_at) {
      Close(client, ClientState::kLost,
            {ActionKind::kLose, device,
             fmt::format("its stream was gone longer than {}",
                         absl::FormatDuration(options_.reconnect_grace))},
            actions);
    } else {
      lost_from_ = std::min(lost_from_, client.lost_at);
    }
  }
}

void Round::CloseIfAnswered(Actions& actions) {
  if (CountOf(ClientState::kOpen) > 0) return;
  const size_t good = CountOf(ClientState::kReported);
  if (good < options_.quorum) {
    return Abandon(fmt::format("{} of {} clients asked reported, {} wanted",
                               good, clients_.size(), options_.quorum),
                   actions);
  }
  phase_ = Phase::kFinishing;
  actions.push_back({ActionKind::kFinish});
}

void Round::Abandon(std::string reason, Actions& actions) {
  for (auto& [device, client] : clients_) {
    if (client.state != ClientState::kOpen) continue;
    Close(client, ClientState::kCancelled,
          {ActionKind::kCancel, device, reason}, actions);
  }
  phase_ = Phase::kAbandoned;
  actions.push_back({ActionKind::kAbandon, "", std::move(reason)});
}

bool Round::IsOpen(const std::string& device) const {
  auto it = clients_.find(device);
  return phase_ == Phase::kTraining && it != clients_.end() &&
         it->second.state == ClientState::kOpen;
}

bool Round::IsSettling() const {
  return phase_ == Phase::kSelecting && settle_by_ < absl::InfiniteFuture();
}

size_t Round::CountOf(ClientState state) const {
  const auto count = counts_.find(state);
  return count == counts_.end() ? 0 : count->second;
}

absl::Time Round::NextTimer() const {
  if (phase_ == Phase::kSelecting) {
    return waits_for_busy_ ? settle_by_ : std::min(select_by_, settle_by_);
  }
  if (phase_ != Phase::kTraining) return absl::InfiniteFuture();
  absl::Time next = deadline_;
  if (lost_from_ >= next) return next;
  for (const auto& [device, client] : clients_) {
    if (client.state == ClientState::kOpen) {
      next = std::min(next, client.lost_at);
    }
  }
  return next;
}

}  // namespace edgetune
