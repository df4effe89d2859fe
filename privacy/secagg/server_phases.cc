// How the phases of SecAggServer end, and what the next one opens with.

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/server_state.h"

namespace edgetune::secagg {
namespace {

using Kind = SecAggServer::Action::Kind;

}  // namespace

absl::Time SecAggServer::State::Deadline() const {
  switch (phase) {
    case Phase::kShares:
      return options.deadlines.shares;
    case Phase::kAcks:
      return options.deadlines.acks;
    case Phase::kInput:
      return options.deadlines.input;
    case Phase::kSurvivors:
      return options.deadlines.survivors;
    case Phase::kUnmask:
      return options.deadlines.unmask;
    default:
      return absl::InfiniteFuture();
  }
}

bool SecAggServer::State::Asked(Phase step, uint32_t index) const {
  switch (step) {
    case Phase::kShares:
      return true;
    case Phase::kAcks:
      return !in_u2.empty() && in_u2[index];
    case Phase::kInput:
      return Answered(Phase::kAcks, index);
    case Phase::kSurvivors:
      return !in_u3.empty() && in_u3[index];
    case Phase::kUnmask:
      return Answered(Phase::kSurvivors, index);
    default:
      return false;
  }
}

bool SecAggServer::State::Answered(Phase step, uint32_t index) const {
  const Member& member = members[index];
  if (step == Phase::kUnmask) return !member.shares.empty();
  return member.said[static_cast<size_t>(step)].has_value();
}

bool SecAggServer::State::Awaits(uint32_t index) const {
  return IsOpen() && !members[index].lost && Asked(phase, index) &&
         !Answered(phase, index);
}

std::vector<bool> SecAggServer::State::Counted(Phase step) const {
  std::vector<bool> counted(size());
  for (uint32_t v = 0; v < size(); ++v) {
    counted[v] =
        Answered(step, v) && !(step == Phase::kInput && members[v].unusable);
  }
  return counted;
}

void SecAggServer::State::CloseDue(absl::Time now, Actions& actions) {
  while (IsOpen()) {
    uint32_t awaited = 0;
    for (uint32_t v = 0; v < size(); ++v) awaited += Awaits(v) ? 1 : 0;
    const auto counted = std::ranges::count(Counted(phase), true);
    const bool can_succeed = counted + awaited >= threshold;
    if (awaited > 0 && can_succeed && now < Deadline()) return;
    Close(actions);
  }
}

void SecAggServer::State::Close(Actions& actions) {
  const absl::Status status = EndPhase(actions);
  if (status.ok()) return;
  const v1::AbortCode named = AbortCodeOf(status);
  Abort(named == v1::ABORT_UNSPECIFIED ? v1::INTERNAL : named,
        std::string(status.message()), actions);
}

absl::Status SecAggServer::State::EndPhase(Actions& actions) {
  if (phase == Phase::kAcks) {
    EDGETUNE_RETURN_IF_ERROR(CheckComplaints(actions));
  }
  if (std::ranges::count(Counted(phase), true) <
      static_cast<int64_t>(threshold)) {
    return AbortError(
        phase == Phase::kSurvivors ? v1::TOO_FEW_SIGS : v1::NOT_ENOUGH,
        fmt::format("phase {} has too few answers", PhaseName(phase)));
  }
  if (phase == Phase::kUnmask) return Unmask(actions);
  EDGETUNE_ASSIGN_OR_RETURN(Message message, NextOpening());
  Record record{Record::Kind::kTransition, NextPhase(), 0,
                message.SerializeAsString()};
  Enter(std::move(message));
  actions.push_back({.kind = Kind::kRecord, .record = std::move(record)});
  for (uint32_t v = 0; v < size(); ++v) {
    if (Awaits(v)) SendTo(v, actions);
  }
  return absl::OkStatus();
}

absl::Status SecAggServer::State::CheckComplaints(Actions& actions) const {
  const size_t before = actions.size();
  for (uint32_t v = 0; v < size(); ++v) {
    for (const uint32_t accused : members[v].bad) {
      actions.push_back({.kind = Kind::kBlame, .index = v, .other = accused});
    }
  }
  if (actions.size() == before) return absl::OkStatus();
  return AbortError(v1::BAD_SHARE, "a member could not open its shares");
}

// What the phase after this one opens with, from what was answered in this one.
absl::StatusOr<SecAggServer::State::Message> SecAggServer::State::NextOpening()
    const {
  Message message;
  const std::string counted = BitmapOf(Counted(phase));
  if (phase == Phase::kShares) {
    v1::ForwardedShares& shares = *message.mutable_shares();
    shares.set_session(BytesOf(session));
    shares.set_u2(counted);
    EDGETUNE_ASSIGN_OR_RETURN(
        *shares.mutable_signature(),
        options.round_key->Sign(U2Bytes(session, counted)));
  } else if (phase == Phase::kAcks) {
    message.mutable_open()->set_session(BytesOf(session));
  } else if (phase == Phase::kInput) {
    v1::Freeze& freeze = *message.mutable_freeze();
    freeze.set_session(BytesOf(session));
    freeze.set_u3(counted);
    EDGETUNE_ASSIGN_OR_RETURN(
        *freeze.mutable_signature(),
        options.round_key->Sign(FreezeBytes(session, u2, counted)));
  } else {
    v1::UnmaskRequest& request = *message.mutable_unmask();
    request.set_session(BytesOf(session));
    for (uint32_t v = 0; v < size(); ++v) {
      const auto& said = members[v].said[static_cast<size_t>(phase)];
      if (!said) continue;
      v1::IndexedSignature& entry = *request.add_signatures();
      entry.set_index(v);
      entry.set_signature(said->signature());
    }
  }
  return message;
}

// `message` comes from NextOpening, in this process or before a restart.
void SecAggServer::State::Enter(Message message) {
  if (message.has_shares()) {
    u2 = message.shares().u2();
    in_u2 = *MembersOf(u2, size());
    ForwardShares(message.shares());
  } else if (message.has_freeze()) {
    u3 = message.freeze().u3();
    in_u3 = *MembersOf(u3, size());
  } else if (message.has_unmask()) {
    signatures = message.unmask();
  }
  for (Member& member : members) {
    if (!message.has_shares()) member.forwarded.reset();
  }
  phase = NextPhase();
  opening = std::make_shared<const Message>(std::move(message));
}

// One message for each member of U2; the ciphertexts live on in these alone.
void SecAggServer::State::ForwardShares(const v1::ForwardedShares& head) {
  for (uint32_t v = 0; v < size(); ++v) {
    if (!in_u2[v] || members[v].lost) continue;
    Message message;
    *message.mutable_shares() = head;
    for (uint32_t u = 0; u < size(); ++u) {
      if (!in_u2[u] || u == v) continue;
      v1::ForwardedShare& share = *message.mutable_shares()->add_shares();
      share.set_index(u);
      share.set_commitment(members[u].commitment);
      // A dealer's list leaves itself out.
      share.set_ciphertext(members[u].ciphertexts.substr(
          (v < u ? v : v - 1) * kCiphertextBytes, kCiphertextBytes));
    }
    members[v].forwarded = std::make_shared<const Message>(std::move(message));
  }
  for (Member& member : members) std::string().swap(member.ciphertexts);
}

void SecAggServer::State::Abort(v1::AbortCode why, std::string detail,
                                Actions& actions) {
  Message message;
  message.set_abort(why);
  phase = Phase::kAborted;
  code = why;
  Wipe();
  actions.push_back({.kind = Kind::kRecord,
                     .record = {Record::Kind::kTransition, phase, 0,
                                message.SerializeAsString()}});
  opening = std::make_shared<const Message>(std::move(message));
  for (uint32_t v = 0; v < size(); ++v) {
    if (!members[v].lost) SendTo(v, actions);
  }
  actions.push_back(
      {.kind = Kind::kAborted, .code = why, .detail = std::move(detail)});
}

void SecAggServer::State::Wipe() {
  for (Member& member : members) {
    member.shares.clear();
    member.forwarded.reset();
    std::string().swap(member.ciphertexts);
  }
}

}  // namespace edgetune::secagg
