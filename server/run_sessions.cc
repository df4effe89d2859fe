// What a Run says to and learns from single clients, and what people see.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "server/message_check.h"
#include "server/run.h"
#include "server/update_intake.h"

namespace edgetune {

using EventKind = Round::Event::Kind;
using ClientState = Round::ClientState;

namespace {

std::string_view ActivityName(v1::Progress::Phase phase) {
  switch (phase) {
    case v1::Progress::EVALUATING:
      return "evaluating";
    case v1::Progress::TRAINING:
      return "training";
    case v1::Progress::UPLOADING:
      return "uploading";
    default:
      return "fetching";
  }
}

std::string_view ShownState(const Session& session) {
  switch (session.state) {
    case ClientState::kOpen:
      return session.activity;
    case ClientState::kReported:
      return "reported";
    case ClientState::kRefused:
      return "refused";
    case ClientState::kDeclined:
      return "declined";
    case ClientState::kLost:
      return session.late ? "late" : "lost";
    case ClientState::kCancelled:
      return "cancelled";
  }
  return "";
}

v1::Outcome::Result ResultOf(ClientState state) {
  switch (state) {
    case ClientState::kReported:
      return v1::Outcome::ACCEPTED;
    case ClientState::kRefused:
      return v1::Outcome::REFUSED;
    case ClientState::kLost:
      return v1::Outcome::LATE;
    default:
      return v1::Outcome::CANCELLED;
  }
}

bool IsStorageFailure(const absl::Status& status) {
  return !status.ok() && !absl::IsInvalidArgument(status) &&
         !absl::IsDataLoss(status);
}

}  // namespace

v1::SessionKey Run::CurrentKey() const {
  v1::SessionKey key;
  key.set_run_id(id());
  key.set_round(row_.round);
  key.set_attempt(row_.attempt);
  return key;
}

SessionId Run::IdOf(const std::string& device) const {
  return SessionId(row_.round, row_.attempt, device);
}

bool Run::IsCurrent(const v1::SessionKey& key) const {
  return key.run_id() == id() && key.round() == row_.round &&
         key.attempt() == row_.attempt;
}

bool Run::HasOpen(const std::string& device) const {
  return (round_.has_value() && round_->IsOpen(device)) || InMasking(device);
}

size_t Run::CountOpen() const {
  if (!round_.has_value()) return 0;
  size_t open = round_->CountOf(ClientState::kOpen);
  for (const auto& [device, entry] : masking_.keys) open += InMasking(device);
  return open;
}

Session* Run::Find(const std::string& device, const v1::SessionKey& key) {
  auto it = sessions_.find(SessionId(key.round(), key.attempt(), device));
  return it == sessions_.end() ? nullptr : &it->second;
}

void Run::SendOutcome(const std::string& device, const v1::SessionKey& key,
                      v1::Outcome::Result result, std::string_view detail,
                      Batch& batch) const {
  v1::ServerMessage message;
  v1::Outcome& outcome = *message.mutable_outcome();
  *outcome.mutable_session() = key;
  outcome.set_result(result);
  if (result != v1::Outcome::ACCEPTED) outcome.set_detail(std::string(detail));
  batch.messages.push_back({device, std::move(message)});
}

void Run::SendAssignment(const std::string& device, Batch& batch) const {
  v1::ServerMessage message;
  *message.mutable_assignment()->mutable_plan() = plan_envelope_;
  *message.mutable_assignment()->mutable_manifest() = manifest_;
  if (const auto counted = in_adapter_.find(device);
      counted != in_adapter_.end()) {
    v1::SessionKey& key = *message.mutable_assignment()->mutable_counted();
    key.set_run_id(id());
    key.set_round(counted->second.round);
    key.set_attempt(counted->second.attempt);
  }
  if (Masks()) {
    v1::Assignment& assignment = *message.mutable_assignment();
    if (roster_ != nullptr) *assignment.mutable_roster() = roster_->envelope;
    for (const ModelVersion& version : models_.versions()) {
      *assignment.add_cards() = version.card;
    }
    *assignment.mutable_overrides() = {masking_.overrides.begin(),
                                       masking_.overrides.end()};
  }
  batch.messages.push_back({device, std::move(message)});
}

void Run::HandleAccepted(const std::string& device, const v1::SessionKey& key) {
  if (!IsCurrent(key) || !HasOpen(device)) return;
  sessions_[IdOf(device)].activity = "fetching";
  changed_ = true;
}

void Run::HandleProgress(const std::string& device,
                         const v1::Progress& progress) {
  if (!IsCurrent(progress.session()) || !HasOpen(device)) return;
  Session& session = sessions_[IdOf(device)];
  session.activity = ActivityName(progress.phase());
  session.step = progress.step();
  session.steps = progress.steps();
  // Under masking no single client's loss is kept or shown, sent or not.
  session.loss = Masks() ? 0 : progress.loss();
  changed_ = true;
}

void Run::HandleDeclined(const std::string& device,
                         const v1::Declined& declined, absl::Time now,
                         Batch& batch) {
  if (!IsCurrent(declined.session()) || !HasOpen(device)) {
    return AnswerEnded(device, declined.session(), batch);
  }
  if (InMasking(device)) {
    return LeaveMasking(device, "it declined: " + declined.detail(), now,
                        batch);
  }
  Apply({EventKind::kDecline, device, declined.detail()}, now, batch);
}

void Run::HandleReport(const std::string& device, const v1::Report& report,
                       absl::Time now, Batch& batch) {
  Session* session = Find(device, report.session());
  if (session == nullptr) return AnswerEnded(device, report.session(), batch);
  if (!IsCurrent(report.session()) || !HasOpen(device)) {
    return AnswerReportAgain(device, report, *session, now, batch);
  }
  absl::Status status = Masks()
                            ? absl::InvalidArgumentError(
                                  "a report in the clear, where the plan masks")
                            : CheckReport(plan_, Kind(), report);
  const UpdateTerms terms = {.weight = report.weight(),
                             .steps = report.train_steps(),
                             .incoming_loss = report.incoming_loss(),
                             .rank = report.rank()};
  if (status.ok() && !IsEvaluation()) {
    status = FoldUpdate(plan_, {report.update_digest(), terms}, *blobs_, *sum_);
  }
  if (IsStorageFailure(status)) {
    batch.failure = Prefix(status, "reading an update");
    return;
  }
  session->fingerprint = ReportFingerprint(report);
  // A refused report may name anybody's blob: not its own to be cleaned up.
  if (status.ok()) session->update_digest = report.update_digest();
  session->terms = terms;
  session->nll_sum = report.nll_sum();
  session->tokens = report.tokens();
  Apply({EventKind::kReport, device, std::string(status.message())}, now,
        batch);
}

void Run::CloseSession(const Round::Action& action, ClientState state,
                       absl::Time now, Batch& batch) {
  const SessionId key = IdOf(action.device);
  Session& session = sessions_[key];
  const std::string activity = session.activity;
  session.state = state;
  session.detail = action.detail;
  // A refused report may hold numbers that no row can.
  if (state != ClientState::kReported) {
    session.terms = {.weight = 0};
    session.nll_sum = 0;
    session.tokens = 0;
  }
  SaveSession(id(), key, session, batch);
  // Under masking what became of a client shows with the sum.
  if (!Masks() || state != ClientState::kReported) {
    SendOutcome(action.device, CurrentKey(), ResultOf(state), action.detail,
                batch);
  }
  TellClosed(action, activity, now, batch);
}

// Under masking a device may have left after its update was in the sum.
void Run::RecordCounted(Batch& batch) {
  if (!KeepsOwnVector(plan_) || IsEvaluation()) return;
  std::set<std::string> devices;
  if (masked_ != nullptr) devices = masked_->survivors();
  for (const auto& [key, session] : CurrentSessions()) {
    if (!Masks() && session.state == ClientState::kReported) {
      devices.insert(std::get<2>(key));
    }
  }
  for (const std::string& device : devices) {
    in_adapter_[device] = {row_.round, row_.attempt};
    SaveCounted(id(), device, in_adapter_[device], batch);
  }
}

void Run::TellClosed(const Round::Action& action, const std::string& activity,
                     absl::Time now, Batch& batch) {
  const Session& session = sessions_[IdOf(action.device)];
  const std::string where = fmt::format("{}: {} ", RoundName(), action.device);
  switch (session.state) {
    case ClientState::kReported:
      if (Masks()) return Say(now, where + "sent its keys", batch);
      return Say(
          now,
          fmt::format("{}accepted, weight {}", where, session.terms.weight),
          batch);
    case ClientState::kRefused:
      return Say(now, fmt::format("{}refused: {}", where, action.detail), batch,
                 true);
    case ClientState::kDeclined:
      return Say(now, fmt::format("{}declined: {}", where, action.detail),
                 batch, true);
    case ClientState::kLost:
      return Say(now,
                 fmt::format("{}lost at {} while {}: {}", where,
                             absl::FormatTime(absl::RFC3339_sec, now,
                                              absl::UTCTimeZone()),
                             activity, action.detail),
                 batch, true);
    default:
      return;
  }
}

void Run::AnswerReportAgain(const std::string& device, const v1::Report& report,
                            Session& session, absl::Time now, Batch& batch) {
  const bool same = session.fingerprint == ReportFingerprint(report);
  if (session.state == ClientState::kReported && !same) {
    const std::string detail =
        "another report was accepted for this session; this one differs";
    if (!std::exchange(session.equivocated, true)) {
      Say(now,
          fmt::format("equivocation: {} sent a second, different report "
                      "for round {} attempt {}",
                      device, report.session().round(),
                      report.session().attempt()),
          batch, true);
    }
    return SendOutcome(device, report.session(), v1::Outcome::REFUSED, detail,
                       batch);
  }
  if (session.state == ClientState::kLost && !session.late) {
    session.late = true;
    Say(now,
        fmt::format("round {}: the report of {} came too late",
                    report.session().round(), device),
        batch, true);
  }
  SendOutcome(device, report.session(), ResultOf(session.state), session.detail,
              batch);
}

void Run::AnswerEnded(const std::string& device, const v1::SessionKey& key,
                      Batch& batch) {
  const Session* session = Find(device, key);
  if (session == nullptr) {
    return SendOutcome(device, key, v1::Outcome::CANCELLED,
                       "this device has no such session", batch);
  }
  SendOutcome(device, key, ResultOf(session->state), session->detail, batch);
}

void Run::ForgetSessions(Batch& batch) {
  if (row_.round < 2) return;
  const auto kept = sessions_.lower_bound(SessionId(row_.round - 1, 0, ""));
  if (kept == sessions_.begin()) return;
  sessions_.erase(sessions_.begin(), kept);
  DropSessionsBefore(id(), row_.round - 1, batch);
}

v1::RunStatus Run::Status() const {
  v1::RunStatus status;
  status.set_run_id(id());
  status.set_name(plan_.name());
  status.set_state(row_.state);
  status.set_detail(row_.detail);
  status.set_rounds(plan_.rounds().count());
  status.set_rounds_done(std::min(row_.round, plan_.rounds().count()));
  if (round_.has_value()) {
    const bool evaluating =
        IsEvaluation() && round_->phase() == Round::Phase::kTraining;
    status.set_phase(masked_ != nullptr ? masked_->PhaseText()
                     : evaluating       ? "evaluating"
                                  : std::string(PhaseName(round_->phase())));
  }
  status.set_attempt(row_.attempt);
  for (const auto& [key, session] : CurrentSessions()) {
    const std::string& device = std::get<2>(key);
    v1::ClientStatus& client = *status.add_clients();
    client.set_device_id(device);
    const bool awaited = masked_ != nullptr && masked_->Awaits(device);
    client.set_state(awaited ? "awaited" : std::string(ShownState(session)));
    client.set_step(session.step);
    client.set_steps(session.steps);
    client.set_loss(session.loss);
    client.set_detail(session.detail);
  }
  *status.mutable_measures() = {measures_.begin(), measures_.end()};
  for (const ModelVersion& version : models_.versions()) {
    *status.add_cards() = version.card;
  }
  *status.mutable_plan() = plan_;
  status.set_bytes_down(row_.bytes_down);
  status.set_bytes_up(row_.bytes_up);
  status.set_base_bytes_down(row_.base_bytes_down);
  status.set_submitted_ms(row_.submitted_ms);
  status.set_ended_ms(row_.ended_ms);
  *status.mutable_events() = {events_.begin(), events_.end()};
  for (const Digest& receipt : masking_.receipts) {
    status.add_receipts(DigestBytes(receipt));
  }
  for (const auto& [device, points] : masking_.scores) {
    v1::BlameScore& score = *status.add_scores();
    score.set_device_id(device);
    score.set_points(points);
  }
  return status;
}

}  // namespace edgetune
