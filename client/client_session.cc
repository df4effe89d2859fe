#include "client/client_session.h"

#include <utility>

namespace edgetune {
namespace {

using Phase = ClientSession::Phase;
using Ending = ClientSession::Ending;
using Event = ClientSession::Event;
using Action = ClientSession::Action;

}  // namespace

std::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "waiting";
    case Phase::kVerifying:
      return "verifying";
    case Phase::kFetching:
      return "fetching";
    case Phase::kEvaluating:
      return "evaluating";
    case Phase::kTraining:
      return "training";
    case Phase::kUploading:
      return "uploading";
    case Phase::kReporting:
      return "reporting";
    case Phase::kMasking:
      return "masking";
    case Phase::kSending:
      return "uploading";
    case Phase::kStopping:
      return "stopping";
  }
  return "unknown";
}

std::string_view EndingName(Ending ending) {
  switch (ending) {
    case Ending::kNone:
      return "unfinished";
    case Ending::kAccepted:
      return "accepted";
    case Ending::kRefused:
      return "refused";
    case Ending::kLate:
      return "late";
    case Ending::kCancelled:
      return "cancelled";
    case Ending::kDeclined:
      return "declined";
    case Ending::kReplaced:
      return "replaced";
  }
  return "unknown";
}

ClientSession ClientSession::Restore(SessionId id, bool has_update) {
  ClientSession session;
  session.phase_ = Phase::kVerifying;
  session.id_ = std::move(id);
  session.has_update_ = has_update;
  return session;
}

std::vector<Action> ClientSession::Handle(const Event& event) {
  switch (event.type) {
    case Event::Type::kConnected:
      return OnConnected();
    case Event::Type::kAssigned:
      return OnAssigned(event);
    case Event::Type::kStepDone:
      return OnStepDone(event);
    case Event::Type::kStepFailed:
      return OnStepFailed();
    case Event::Type::kOutcome:
      if (phase_ == Phase::kIdle || event.id != id_) return {};
      return OnOver(event.ending, Action::Type::kSayHello);
    case Event::Type::kDismissed:
      if (phase_ == Phase::kIdle) return {{Action::Type::kWait}};
      return OnOver(Ending::kCancelled, Action::Type::kWait);
    case Event::Type::kHalted:
      return OnHalted();
    case Event::Type::kMaskedReady:
      if (phase_ != Phase::kMasking) return {};
      phase_ = Phase::kSending;
      return {{Action::Type::kSendMasked}};
  }
  return {};
}

ClientSession::Actions ClientSession::OnConnected() const {
  switch (phase_) {
    case Phase::kIdle:
      return {{Action::Type::kSayHello}};
    case Phase::kVerifying:
      return {{Action::Type::kSayResume},
              {Action::Type::kVerify, Ending::kNone, id_}};
    case Phase::kFetching:
    case Phase::kEvaluating:
    case Phase::kTraining:
    case Phase::kUploading:
    case Phase::kSending:
      return {{Action::Type::kSayResume}};
    case Phase::kMasking:
      return {{Action::Type::kSayResume}, {Action::Type::kMaskAgain}};
    case Phase::kReporting:
      return {{Action::Type::kSayResume}, {Action::Type::kReport}};
    case Phase::kStopping:
      return {};
  }
  return {};
}

ClientSession::Actions ClientSession::OnAssigned(const Event& event) {
  const bool own = phase_ != Phase::kIdle && event.id == id_;
  switch (phase_) {
    case Phase::kIdle:
      return Begin(event.id);
    case Phase::kVerifying:
    case Phase::kMasking:
    case Phase::kReporting: {
      if (own && phase_ == Phase::kReporting) {
        return {{Action::Type::kReport}};
      }
      if (own && phase_ == Phase::kMasking) {
        return {{Action::Type::kMaskAgain}};
      }
      if (own) return {{Action::Type::kVerify, Ending::kNone, id_}};
      Actions actions = {{Action::Type::kEnd, Ending::kReplaced, id_}};
      for (Action& action : Begin(event.id)) {
        actions.push_back(std::move(action));
      }
      return actions;
    }
    case Phase::kStopping:
      if (!own) noted_ = event.id;
      return {};
    default:
      if (own) return {{Action::Type::kAccept}};
      noted_ = event.id;
      return OnOver(Ending::kReplaced, Action::Type::kSayHello);
  }
}

ClientSession::Actions ClientSession::OnStepDone(const Event& event) {
  switch (phase_) {
    case Phase::kVerifying:
      train_ = event.train;
      masks_ = event.masks;
      phase_ = has_update_ ? Phase::kUploading : Phase::kFetching;
      return {{Action::Type::kAccept},
              {has_update_ ? Action::Type::kUpload : Action::Type::kFetch}};
    case Phase::kFetching:
      phase_ = Phase::kEvaluating;
      return {{Action::Type::kEvaluate}};
    case Phase::kEvaluating:
      if (!train_) return OnResult();
      phase_ = Phase::kTraining;
      return {{Action::Type::kTrain}};
    case Phase::kTraining:
      if (masks_) return OnResult();
      has_update_ = true;
      phase_ = Phase::kUploading;
      return {{Action::Type::kUpload}};
    case Phase::kUploading:
      phase_ = Phase::kReporting;
      return {{Action::Type::kReport}};
    case Phase::kSending:
      phase_ = Phase::kMasking;
      return {{Action::Type::kMaskedSent}};
    case Phase::kStopping:
      return End(ending_, after_);
    case Phase::kIdle:
    case Phase::kReporting:
    case Phase::kMasking:
      return {};
  }
  return {};
}

ClientSession::Actions ClientSession::OnResult() {
  phase_ = masks_ ? Phase::kMasking : Phase::kReporting;
  return {{masks_ ? Action::Type::kMask : Action::Type::kReport}};
}

ClientSession::Actions ClientSession::OnStepFailed() {
  switch (phase_) {
    case Phase::kIdle:
    case Phase::kReporting:
      return {};
    case Phase::kStopping:
      return End(ending_, after_);
    default: {
      Actions actions = {{Action::Type::kDecline}};
      for (Action& action : End(Ending::kDeclined, Action::Type::kSayHello)) {
        actions.push_back(std::move(action));
      }
      return actions;
    }
  }
}

ClientSession::Actions ClientSession::OnOver(Ending ending, Action::Type then) {
  switch (phase_) {
    case Phase::kVerifying:
    case Phase::kMasking:
    case Phase::kReporting:
      return End(ending, then);
    case Phase::kFetching:
    case Phase::kEvaluating:
    case Phase::kTraining:
    case Phase::kUploading:
    case Phase::kSending:
      phase_ = Phase::kStopping;
      ending_ = ending;
      after_ = then;
      return {{Action::Type::kStopWork}};
    case Phase::kIdle:
    case Phase::kStopping:
      return {};
  }
  return {};
}

ClientSession::Actions ClientSession::OnHalted() {
  switch (phase_) {
    case Phase::kVerifying:
      return OnStepFailed();
    case Phase::kFetching:
    case Phase::kEvaluating:
    case Phase::kTraining:
      OnOver(Ending::kDeclined, Action::Type::kSayHello);
      return {{Action::Type::kDecline}, {Action::Type::kStopWork}};
    default:
      return {};
  }
}

ClientSession::Actions ClientSession::Begin(const SessionId& id) {
  phase_ = Phase::kVerifying;
  id_ = id;
  has_update_ = false;
  train_ = masks_ = false;
  return {{Action::Type::kVerify, Ending::kNone, id_}};
}

ClientSession::Actions ClientSession::End(Ending ending, Action::Type then) {
  Actions actions = {{Action::Type::kEnd, ending, id_}};
  phase_ = Phase::kIdle;
  if (!noted_.has_value()) {
    actions.push_back({then});
    return actions;
  }
  const SessionId next = *std::exchange(noted_, std::nullopt);
  for (Action& action : Begin(next)) {
    actions.push_back(std::move(action));
  }
  return actions;
}

}  // namespace edgetune
