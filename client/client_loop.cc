#include "client/client_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "client/checkpoint_file.h"
#include "client/device_policy.h"
#include "client/local_data.h"

namespace edgetune {
namespace {

using Ending = ClientSession::Ending;
using Phase = ClientSession::Phase;

// Wall clocks jump and laptops sleep: timers are looked at again this often.
constexpr absl::Duration kLongestSleep = absl::Seconds(30);
// About a quarter of a minute of the transport's back-off.
constexpr int kOnceConnections = 8;

// Sleeps in slices, so that a stop is never late.
bool PauseUnless(const StopToken& stop, absl::Duration wait) {
  constexpr absl::Duration kSlice = absl::Milliseconds(20);
  while (!stop && wait > absl::ZeroDuration()) {
    absl::SleepFor(std::min(wait, kSlice));
    wait -= kSlice;
  }
  return !stop;
}

// For the answer to a last word.
constexpr absl::Duration kLongestGoodbye = absl::Seconds(3);

bool IsFinal(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status);
}

}  // namespace

ClientLoop::ClientLoop(Dependencies dependencies, Options options)
    : dependencies_(std::move(dependencies)),
      options_(std::move(options)),
      sessions_(dependencies_.database),
      masking_store_(dependencies_.database),
      own_vectors_(dependencies_.database),
      read_data_(dependencies_.read_data ? dependencies_.read_data
                                         : ReadData(ReadLocalData)),
      workshop_{.transport = dependencies_.transport,
                .blobs = dependencies_.cache,
                .sessions = &sessions_,
                .own_vectors = &own_vectors_,
                .models = Models(),
                .data = &data_,
                .read_data = &read_data_,
                .unspent = &unspent_,
                .file = &options_.file,
                .clock = dependencies_.clock,
                .stop = &work_stop_,
                .pause =
                    [this](absl::Duration wait) {
                      return PauseUnless(work_stop_, wait);
                    }},
      random_(dependencies_.random != nullptr ? dependencies_.random
                                              : &system_random_) {}

BaseModels* ClientLoop::Models() {
  if (dependencies_.models != nullptr) return dependencies_.models;
  return &own_models_.emplace(dependencies_.cache, dependencies_.engine,
                              options_.file.train.threads);
}

absl::Status ClientLoop::Run() {
  EDGETUNE_RETURN_IF_ERROR(Start());
  while (!result_.has_value()) {
    CheckTimers();
    if (result_.has_value()) break;
    const auto event = mailbox_.Take(TimeToNextTimer());
    // Asked first: a step that was told to stop by RequestStop has not
    // failed, it goes on after the next start.
    if (stop_) break;
    if (event.has_value()) Handle(*event);
  }
  return Leave();
}

absl::Status ClientLoop::Start() {
  EDGETUNE_RETURN_IF_ERROR(Restore());
  ShowStatus("connecting");
  work_ = dependencies_.work;
  if (work_ == nullptr) work_ = &own_work_.emplace();
  const absl::Status started = dependencies_.transport->Start(this);
  if (!started.ok()) Finish(started);
  return absl::OkStatus();
}

void ClientLoop::Step() {
  while (!result_.has_value() && !stop_) {
    CheckTimers();
    if (result_.has_value()) return;
    const auto event = mailbox_.Take(absl::ZeroDuration());
    if (!event.has_value()) return;
    Handle(*event);
  }
}

absl::Status ClientLoop::Leave() {
  work_stop_ = true;
  dependencies_.transport->Close();
  own_work_.reset();
  work_ = nullptr;
  if (!result_.has_value() && Working()) {
    LogInfo(fmt::format("stopped; {} goes on at the next start",
                        SessionText(session_.id())));
  }
  status_.state = "stopped";
  ShowStatus(result_.has_value() && !result_->ok()
                 ? std::string(result_->message())
                 : "");
  return result_.value_or(absl::OkStatus());
}

void ClientLoop::RequestStop() {
  stop_ = true;
  work_stop_ = true;
  mailbox_.Nudge();
}

void ClientLoop::OnUp() { mailbox_.Push({ClientEvent::Type::kUp}); }
void ClientLoop::OnMessage(const v1::ServerMessage& message) {
  mailbox_.Push({ClientEvent::Type::kMessage, message});
}
void ClientLoop::OnDown(const absl::Status& status) {
  mailbox_.Push({ClientEvent::Type::kDown, {}, status});
}

absl::Status ClientLoop::Restore() {
  CheckpointFile::RemoveParts(CheckpointFile::PathIn(options_.file.state));
  EDGETUNE_ASSIGN_OR_RETURN(auto unfinished, sessions_.ReadUnfinished());
  if (!unfinished.has_value()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const bool advertised,
                            masking_store_.HasAdvertised(unfinished->id));
  if (advertised) {
    // Its secrets were in memory only: for the round this device is lost.
    LogInfo(fmt::format("{}: was masking when the client stopped; left",
                        SessionText(unfinished->id)));
    return sessions_.End(unfinished->id, Ending::kCancelled,
                         "stopped while masking", dependencies_.clock->Now());
  }
  stored_report_ = std::move(unfinished->report);
  bool has_update = false;
  if (stored_report_.has_value()) {
    const auto digest = DigestFromBytes(stored_report_->update_digest());
    has_update = digest.ok() && dependencies_.cache->Has(*digest);
    // One that did not survive with its report is trained again.
    if (!has_update) stored_report_->clear_update_digest();
  }
  incoming_ = std::move(unfinished->assignment);
  restored_ = true;
  session_ = ClientSession::Restore(unfinished->id, has_update);
  LogInfo(fmt::format("{}: unfinished, going on{}", SessionText(unfinished->id),
                      has_update ? " with the update that was trained" : ""));
  return absl::OkStatus();
}

void ClientLoop::Handle(const ClientEvent& event) {
  switch (event.type) {
    case ClientEvent::Type::kUp:
      up_ = true;
      failed_connections_ = 0;
      LogInfo("connected to the coordinator");
      Feed({.type = Event::Type::kConnected});
      return;
    case ClientEvent::Type::kDown:
      HandleDown(event.status);
      return;
    case ClientEvent::Type::kMessage:
      HandleMessage(event.message);
      return;
    case ClientEvent::Type::kStep:
      if (std::exchange(masking_failed_, false) &&
          session_.phase() == Phase::kSending) {
        Feed({.type = Event::Type::kStepFailed});
      } else if (event.status.ok()) {
        Feed({.type = Event::Type::kStepDone});
      } else {
        // A step that we stopped ourselves keeps the reason it was stopped for.
        if (session_.phase() != Phase::kStopping) {
          failure_ = event.status;
          halted_ = false;
        }
        Feed({.type = Event::Type::kStepFailed});
      }
      return;
  }
}

void ClientLoop::HandleMessage(const v1::ServerMessage& message) {
  if (leaving_.has_value() && !message.has_outcome()) return;
  switch (message.body_case()) {
    case v1::ServerMessage::kComeBack:
      come_back_after_ = absl::Milliseconds(static_cast<int64_t>(
          std::min<uint64_t>(message.come_back().after_ms(), 3600 * 1000)));
      come_back_reason_ = message.come_back().reason();
      Feed({.type = Event::Type::kDismissed});
      return;
    case v1::ServerMessage::kAssignment: {
      const SessionId id = ClaimedId(message.assignment());
      const bool own = session_.phase() != Phase::kIdle && id == session_.id();
      if (!own) incoming_ = message.assignment();
      Feed({.type = Event::Type::kAssigned, .id = id});
      return;
    }
    case v1::ServerMessage::kOutcome:
      HandleOutcome(message.outcome());
      return;
    case v1::ServerMessage::kSecagg:
      HandleSecAgg(message.secagg());
      return;
    case v1::ServerMessage::BODY_NOT_SET:
      LogWarning("the coordinator sent a message this version does not know");
      return;
  }
}

void ClientLoop::HandleOutcome(const v1::Outcome& outcome) {
  Ending ending = Ending::kNone;
  switch (outcome.result()) {
    case v1::Outcome::ACCEPTED:
      ending = Ending::kAccepted;
      break;
    case v1::Outcome::REFUSED:
      ending = Ending::kRefused;
      break;
    case v1::Outcome::LATE:
      ending = Ending::kLate;
      break;
    case v1::Outcome::CANCELLED:
      ending = Ending::kCancelled;
      break;
    default:
      LogWarning("the coordinator sent an outcome this version does not know");
      return;
  }
  outcome_detail_ = outcome.detail();
  if (leaving_.has_value()) return Finish(*leaving_);
  Feed({.type = Event::Type::kOutcome,
        .id = IdOf(outcome.session()),
        .ending = ending});
}

void ClientLoop::HandleDown(const absl::Status& status) {
  if (leaving_.has_value()) return Finish(*leaving_);
  const std::string reason(status.message());
  if (IsFinal(status)) {
    LogError(fmt::format("the coordinator refuses this device: {}", reason));
    Finish(Annotate(status, ErrorKind::kIdentity,
                    "ask the operator for a kit of this coordinator"));
    return;
  }
  if (++failed_connections_ == 1) {
    LogWarning(fmt::format("no connection: {}; trying again", reason));
  } else {
    LogDebug(fmt::format("no connection: {}", reason));
  }
  up_ = false;
  if (options_.once && failed_connections_ >= kOnceConnections) {
    Finish(Annotate(status, ErrorKind::kConnection,
                    "is the coordinator running, and is `server` in "
                    "client.toml its address?"));
  }
}

void ClientLoop::CheckTimers() {
  if (leaving_.has_value()) {
    if (dependencies_.clock->Now() >= leave_by_) Finish(*leaving_);
    return;
  }
  if (up_ && session_.phase() == Phase::kIdle &&
      dependencies_.clock->Now() >= hello_at_) {
    CheckIn();
  }
  GiveUpMaskingIfDue();
  const Phase phase = session_.phase();
  if ((phase == Phase::kFetching || phase == Phase::kEvaluating ||
       phase == Phase::kTraining) &&
      !Policy().allowed) {
    halted_ = true;
    failure_ = absl::FailedPreconditionError(
        fmt::format("the device's time window {} has closed",
                    WindowText(*options_.file.policy.window)));
    Feed({.type = Event::Type::kHalted});
  }
}

absl::Time ClientLoop::NextTimer() const {
  if (leaving_.has_value()) return leave_by_;
  if (Working()) return std::min(Policy().until, mask_until_);
  return up_ ? hello_at_ : absl::InfiniteFuture();
}

absl::Duration ClientLoop::TimeToNextTimer() const {
  return std::clamp(NextTimer() - dependencies_.clock->Now(),
                    absl::ZeroDuration(), kLongestSleep);
}

PolicyAnswer ClientLoop::Policy() const {
  return CheckPolicy(options_.file.policy, dependencies_.clock->Now(),
                     absl::LocalTimeZone());
}

bool ClientLoop::Working() const { return session_.phase() != Phase::kIdle; }

void ClientLoop::Feed(Event event) {
  follow_ups_.push_back(std::move(event));
  DrainEvents();
}

void ClientLoop::DrainEvents() {
  feeding_ = true;
  while (!follow_ups_.empty()) {
    Event next = std::move(follow_ups_.front());
    follow_ups_.pop_front();
    if (participation_ != nullptr) {
      next.train = participation_->assignment().train;
      next.masks = participation_->assignment().masking.has_value();
    }
    for (const Action& action : session_.Handle(next)) Perform(action);
  }
  feeding_ = false;
  if (!result_.has_value()) {
    const std::string phase(PhaseName(session_.phase()));
    if (Working() && phase != status_.state) {
      status_.state = phase;
      ShowStatus("");
    }
  }
}

void ClientLoop::Finish(absl::Status status) {
  if (!result_.has_value()) result_ = std::move(status);
}

void ClientLoop::FinishAfterAnswer(absl::Status status) {
  if (leaving_.has_value()) return;
  leaving_ = std::move(status);
  leave_by_ = dependencies_.clock->Now() + kLongestGoodbye;
}

const std::vector<std::string>& Client::Migrations() {
  return SessionStore::Migrations();
}

absl::StatusOr<std::unique_ptr<Client>> Client::Make(Dependencies dependencies,
                                                     Options options) {
  if (!dependencies.read_data) {
    EDGETUNE_RETURN_IF_ERROR(CheckDataFiles(options.file.data));
  }
  return std::make_unique<ClientLoop>(std::move(dependencies),
                                      std::move(options));
}

}  // namespace edgetune
