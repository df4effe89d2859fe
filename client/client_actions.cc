#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "client/checkpoint_file.h"
#include "client/client_loop.h"
#include "client/device_policy.h"
#include "privacy/secagg/member.h"

namespace edgetune {
namespace {

using Ending = ClientSession::Ending;

constexpr char kVersion[] = EDGETUNE_VERSION;
constexpr size_t kLongestDetail = 200;
constexpr absl::Duration kShortestWait = absl::Milliseconds(100);

v1::Declined::Reason ReasonOf(const absl::Status& status, bool halted) {
  if (halted) return v1::Declined::POLICY;
  const v1::AbortCode code = secagg::AbortCodeOf(status);
  if (secagg::IsKnownAbort(code)) {
    return code == v1::INTERNAL ? v1::Declined::UNABLE : v1::Declined::REFUSED;
  }
  switch (KindOf(status)) {
    case ErrorKind::kConfig:
    case ErrorKind::kData:
    case ErrorKind::kModel:
    case ErrorKind::kDiskFull:
      return v1::Declined::UNABLE;
    default:
      break;
  }
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDataLoss:
      return v1::Declined::REFUSED;
    default:
      return v1::Declined::UNABLE;
  }
}

// What the coordinator may read: never what a line of a data file says.
std::string DetailOf(const absl::Status& status) {
  if (KindOf(status) == ErrorKind::kData) {
    return "the device's data cannot be used";
  }
  return std::string(status.message()).substr(0, kLongestDetail);
}

// Nothing will be different for the next session either.
bool ConcernsDevice(const absl::Status& status) {
  const ErrorKind kind = KindOf(status);
  return kind == ErrorKind::kConfig || kind == ErrorKind::kData ||
         kind == ErrorKind::kDiskFull;
}

}  // namespace

void ClientLoop::Perform(const Action& action) {
  switch (action.type) {
    case Action::Type::kSayHello:
      hello_at_ = std::max(dependencies_.clock->Now(), not_before_);
      return;
    case Action::Type::kSayResume:
      return SayResume();
    case Action::Type::kWait:
      return Wait();
    case Action::Type::kVerify:
      failure_ = Verify(action.id);
      follow_ups_.push_back(
          {failure_.ok() ? Event::Type::kStepDone : Event::Type::kStepFailed});
      return;
    case Action::Type::kAccept:
      return Accept();
    case Action::Type::kDecline:
      return Decline();
    case Action::Type::kFetch:
      return StartWork(WorkStep::kFetch, &Participation::Fetch);
    case Action::Type::kEvaluate:
      return StartWork(WorkStep::kEvaluate, &Participation::Evaluate);
    case Action::Type::kTrain:
      return StartWork(WorkStep::kTrain, &Participation::Train);
    case Action::Type::kUpload:
      return StartWork(WorkStep::kUpload, &Participation::Upload);
    case Action::Type::kReport:
      return SendReport();
    case Action::Type::kMask:
      return StartMasking();
    case Action::Type::kMaskAgain:
      return RepeatMasking();
    case Action::Type::kSendMasked:
      return StartWork(WorkStep::kUpload, &Participation::UploadMasked);
    case Action::Type::kMaskedSent:
      return MaskedSent();
    case Action::Type::kStopWork:
      work_stop_ = true;
      work_->Interrupt();
      return;
    case Action::Type::kEnd:
      return End(action.id, action.ending);
  }
}

void ClientLoop::CheckIn() {
  if (result_.has_value()) return;
  const PolicyAnswer policy = Policy();
  if (!policy.allowed) {
    const std::string text = fmt::format(
        "outside the time window {}, back at {}",
        WindowText(*options_.file.policy.window),
        absl::FormatTime("%H:%M", policy.until, absl::LocalTimeZone()));
    hello_at_ = policy.until;
    come_back_reason_.clear();
    ShowWaiting(text);
    if (options_.once) Finish(absl::OkStatus());
    return;
  }
  hello_at_ = absl::InfiniteFuture();
  v1::ClientMessage message;
  message.mutable_hello()->set_client_version(kVersion);
  message.mutable_hello()->set_population(options_.file.population);
  dependencies_.transport->Send(message);
  ShowWaiting(come_back_reason_.empty() ? "for a round" : come_back_reason_);
}

void ClientLoop::SayResume() {
  v1::ClientMessage message;
  message.mutable_hello()->set_client_version(kVersion);
  message.mutable_hello()->set_population(options_.file.population);
  *message.mutable_hello()->mutable_resume() = KeyOf(session_.id());
  dependencies_.transport->Send(message);
}

void ClientLoop::Wait() {
  const absl::Duration wait = std::max(come_back_after_, kShortestWait);
  hello_at_ = std::max(dependencies_.clock->Now() + wait, not_before_);
  ShowWaiting(come_back_reason_.empty() ? "for a round" : come_back_reason_);
  if (options_.once) Finish(absl::OkStatus());
}

// Asked again and again, told once.
void ClientLoop::ShowWaiting(const std::string& reason) {
  if (status_.state == "waiting" && status_.detail == reason) return;
  LogInfo("waiting: " + reason);
  status_.state = "waiting";
  ShowStatus(reason);
}

absl::Status ClientLoop::Verify(const SessionId& id) {
  const absl::Time now = dependencies_.clock->Now();
  halted_ = false;
  outcome_detail_.clear();
  EDGETUNE_ASSIGN_OR_RETURN(
      VerifiedAssignment verified,
      VerifyAssignment(incoming_, dependencies_.trusted, options_.file, now));
  if (verified.masking.has_value()) {
    if (dependencies_.identity == nullptr) {
      return Annotate(absl::FailedPreconditionError(
                          "the plan masks, but the kit of this device has no "
                          "identity key"),
                      ErrorKind::kIdentity, "ask the operator for a newer kit");
    }
    EDGETUNE_RETURN_IF_ERROR(masking_store_.Admit(verified.masking->history));
  }
  if (!Policy().allowed) {
    halted_ = true;
    return absl::FailedPreconditionError(
        fmt::format("outside the device's time window {}",
                    WindowText(*options_.file.policy.window)));
  }
  EDGETUNE_RETURN_IF_ERROR(sessions_.Begin(id, incoming_, now));
  status_.run_id = ToHex(std::string_view(id.run_id));
  status_.round = id.round;
  status_.attempt = id.attempt;
  participation_ = std::make_unique<Participation>(
      workshop_, std::move(verified), stored_report_);
  return absl::OkStatus();
}

void ClientLoop::Accept() {
  const SessionId& id = session_.id();
  const v1::TaskPlan& plan = participation_->assignment().plan;
  if (told_runs_.insert(id.run_id).second) {
    LogInfo(fmt::format(
        "run {} \"{}\": the coordinator sees {}",
        ToHex(std::string_view(id.run_id)).substr(0, 8), plan.name(),
        plan.secagg().enabled()
            ? "only sums over at least two thirds of a cohort, never this "
              "device's update"
            : "this device's update: the plan does not mask"));
  }
  LogInfo(fmt::format(
      "{}: taking part, {}", SessionText(id),
      participation_->assignment().train ? "training" : "evaluation only"));
  v1::ClientMessage message;
  *message.mutable_accepted()->mutable_session() = KeyOf(id);
  dependencies_.transport->Send(message);
}

void ClientLoop::Decline() {
  LogWarning(fmt::format("{}: not taking part: {}", SessionText(session_.id()),
                         std::string(failure_.message())));
  v1::ClientMessage message;
  v1::Declined* declined = message.mutable_declined();
  *declined->mutable_session() = KeyOf(session_.id());
  declined->set_reason(ReasonOf(failure_, halted_));
  declined->set_detail(DetailOf(failure_));
  dependencies_.transport->Send(message);
  not_before_ = dependencies_.clock->Now() + options_.decline_pause;
  if (!halted_ && ConcernsDevice(failure_)) FinishAfterAnswer(failure_);
}

void ClientLoop::End(const SessionId& id, Ending ending) {
  std::string detail = outcome_detail_;
  if (ending == Ending::kDeclined) detail = DetailOf(failure_);
  LogInfo(fmt::format("{}: {}{}{}", SessionText(id), EndingName(ending),
                      detail.empty() ? "" : ": ", detail));
  // Before the row: a crash in between costs work, not a forgotten file. When
  // the device's own policy ended it, the same round may come again.
  if (ending != Ending::kDeclined || !halted_) {
    CheckpointFile::Remove(CheckpointFile::PathIn(options_.file.state));
  }
  const absl::Status stored =
      sessions_.End(id, ending, detail, dependencies_.clock->Now());
  if (!stored.ok()) Finish(stored);
  if (masking_.has_value()) masking_->End();
  masking_.reset();
  mask_until_ = absl::InfiniteFuture();
  if (participation_ != nullptr) participation_->Discard();
  participation_.reset();
  stored_report_.reset();
  come_back_reason_.clear();
  status_.state = "waiting";
  status_.run_id.clear();
  status_.last_run_id = ToHex(std::string_view(id.run_id));
  status_.last_round = id.round;
  status_.last_ending = EndingName(ending);
  status_.last_detail = detail;
  ShowStatus("");
  if (options_.once) EndOnce(id, ending);
  restored_ = false;
}

void ClientLoop::EndOnce(const SessionId& id, Ending ending) {
  if (ending == Ending::kAccepted) return Finish(absl::OkStatus());
  if (ending == Ending::kDeclined) {
    return FinishAfterAnswer(halted_ ? absl::OkStatus() : failure_);
  }
  // A leftover of an earlier start that came to nothing is not the one
  // participation that was asked for; a replaced one goes on as another.
  if (restored_ || ending == Ending::kReplaced) return;
  Finish(absl::FailedPreconditionError(fmt::format(
      "{}: {}: {}", SessionText(id), EndingName(ending), outcome_detail_)));
}

void ClientLoop::StartWork(WorkStep step,
                           absl::Status (Participation::*method)()) {
  work_stop_ = false;
  if (stop_) work_stop_ = true;
  work_->Start(
      step,
      [participation = participation_.get(), method] {
        return (participation->*method)();
      },
      [this, participation = participation_.get()](absl::Status status) {
        if (status.ok()) status = participation->Keep();
        mailbox_.Push({ClientEvent::Type::kStep, {}, std::move(status)});
      });
}

void ClientLoop::SendReport() {
  v1::ClientMessage message;
  *message.mutable_report() = participation_->report();
  dependencies_.transport->Send(message);
  LogInfo(fmt::format("{}: reported, waiting for the round",
                      SessionText(session_.id())));
}

void ClientLoop::ShowStatus(const std::string& detail) {
  if (options_.file.state.empty()) return;
  status_.detail = detail;
  status_.changed = absl::FormatTime(
      absl::RFC3339_sec, dependencies_.clock->Now(), absl::LocalTimeZone());
  const absl::Status status = WriteDeviceStatus(options_.file.state, status_);
  if (!status.ok()) {
    LogWarning(fmt::format("cannot show the status: {}",
                           std::string(status.message())));
  }
}

}  // namespace edgetune
