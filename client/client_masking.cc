// The client's shell around one masking session: persists before it sends, and
// hands messages between the stream and SecAggClient.

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "client/client_loop.h"

namespace edgetune {

using Phase = ClientSession::Phase;
using secagg::SecAggClient;

void ClientLoop::StartMasking() {
  const absl::Status status = TryStartMasking();
  if (!status.ok()) AbortMasking(status);
}

absl::Status ClientLoop::TryStartMasking() {
  const VerifiedAssignment& assignment = participation_->assignment();
  EDGETUNE_ASSIGN_OR_RETURN(secagg::RingVector input,
                            participation_->MakeInput(*random_));
  SecAggClient::Options options;
  options.manifest = assignment.masking->manifest;
  options.id = ClientIdOf(dependencies_.device_id);
  options.identity = dependencies_.identity;
  options.coordinator = dependencies_.trusted.round;
  options.roster = assignment.masking->roster;
  options.shape = assignment.masking->shape;
  options.random = random_;
  EDGETUNE_RETURN_IF_ERROR(masking_store_.MarkAdvertised(session_.id()));
  LogInfo(fmt::format(
      "{}: masking the result; the coordinator learns the sum "
      "over at least {} clients",
      SessionText(session_.id()), SecAggThreshold(options.shape.n_min)));
  masking_.emplace(std::move(options));
  mask_until_ = absl::FromUnixMillis(assignment.manifest.header().expires_ms());
  PerformMasking(masking_->Start(std::move(input)));
  return absl::OkStatus();
}

void ClientLoop::HandleSecAgg(const v1::ServerSecAgg& message) {
  const Phase phase = session_.phase();
  if ((phase != Phase::kMasking && phase != Phase::kSending) ||
      !masking_.has_value() || IdOf(message.session()) != session_.id()) {
    return;
  }
  if (message.message().has_abort()) {
    // What became of the session comes as its outcome.
    LogWarning(fmt::format("{}: the coordinator ended the masking session: {}",
                           SessionText(session_.id()),
                           v1::AbortCode_Name(message.message().abort())));
    return masking_->End();
  }
  PerformMasking(masking_->Handle(message.message()));
}

void ClientLoop::PerformMasking(SecAggClient::Actions actions) {
  for (SecAggClient::Action& action : actions) {
    const absl::Status status = PerformMasking(action);
    if (!status.ok()) return AbortMasking(status);
  }
}

absl::Status ClientLoop::PerformMasking(SecAggClient::Action& action) {
  using Kind = SecAggClient::Action::Kind;
  const absl::Time now = dependencies_.clock->Now();
  switch (action.kind) {
    case Kind::kSend: {
      v1::ClientMessage message;
      *message.mutable_secagg()->mutable_session() = KeyOf(session_.id());
      *message.mutable_secagg()->mutable_message() = std::move(action.message);
      dependencies_.transport->Send(message);
      return absl::OkStatus();
    }
    case Kind::kSpend:
      unspent_.reset();
      return masking_store_.Spend(participation_->assignment().masking->history,
                                  action.session, now);
    case Kind::kUpload:
      // Asked for again while it is being sent: the work thread reads the same
      // bytes.
      if (session_.phase() == Phase::kSending) return absl::OkStatus();
      participation_->SetMasked(std::move(action.masked));
      follow_ups_.push_back({Event::Type::kMaskedReady});
      if (!feeding_) DrainEvents();
      return absl::OkStatus();
    case Kind::kRemember:
      return masking_store_.RememberSurvivors(session_.id(), action.session,
                                              action.document, now);
    case Kind::kEvidence:
      LogError(
          fmt::format("{}: the coordinator signed two survivor sets for "
                      "one session; both are kept as evidence",
                      SessionText(session_.id())));
      return masking_store_.KeepEvidence(action.session, action.document, now);
    case Kind::kAborted:
      return secagg::AbortError(action.code, action.detail);
  }
  return absl::OkStatus();
}

// Ends this device's part; the coordinator is told the code only.
void ClientLoop::AbortMasking(const absl::Status& status) {
  LogWarning(fmt::format("{}: left the masking session: {}",
                         SessionText(session_.id()),
                         std::string(status.message())));
  if (masking_.has_value()) masking_->End();
  failure_ = status;
  halted_ = false;
  if (session_.phase() == Phase::kSending) {
    // The upload must return first.
    masking_failed_ = true;
    work_stop_ = true;
    work_->Interrupt();
    return;
  }
  follow_ups_.push_back({Event::Type::kStepFailed});
  if (!feeding_) DrainEvents();
}

// A coordinator that has gone silent must not keep the secrets in memory.
void ClientLoop::GiveUpMaskingIfDue() {
  if (dependencies_.clock->Now() < mask_until_) return;
  mask_until_ = absl::InfiniteFuture();
  if (masking_.has_value()) {
    PerformMasking(masking_->Fail(v1::DEADLINE, "the manifest has expired"));
  }
}

void ClientLoop::RepeatMasking() {
  if (masking_.has_value()) PerformMasking(masking_->Resend());
}

void ClientLoop::MaskedSent() {
  if (masking_.has_value()) PerformMasking(masking_->Uploaded());
}

}  // namespace edgetune
