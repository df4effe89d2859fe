// SecAggServer from the records of an earlier process.

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/server_state.h"

namespace edgetune::secagg {
namespace {

absl::Status NotOurs(std::string_view what) {
  return absl::DataLossError(
      fmt::format("records of a masking session: {}", what));
}

}  // namespace

absl::StatusOr<SecAggServer> SecAggServer::Restore(
    const Options& options, std::vector<v1::CohortEntry> cohort,
    const std::vector<Record>& records, Actions& actions) {
  auto state = std::make_unique<State>(options);
  EDGETUNE_RETURN_IF_ERROR(state->Join(std::move(cohort)));
  const Record first{Record::Kind::kTransition, Phase::kShares, 0,
                     BytesOf(state->session)};
  if (records.empty() || records.front() != first) {
    return NotOurs("they begin with another session");
  }
  for (size_t i = 1; i < records.size(); ++i) {
    EDGETUNE_RETURN_IF_ERROR(state->Replay(records[i]));
  }
  if (!state->IsOpen()) return SecAggServer(std::move(state));
  const bool frozen = !state->in_u3.empty();
  const std::vector<bool> uploads =
      frozen ? state->in_u3 : state->Counted(Phase::kInput);
  for (uint32_t v = 0; v < state->size(); ++v) {
    if (!uploads[v]) continue;
    actions.push_back({.kind = Action::Kind::kFold,
                       .index = v,
                       .digest = state->members[v].upload});
  }
  for (uint32_t v = 0; v < state->size(); ++v) {
    if (state->Awaits(v)) state->SendTo(v, actions);
  }
  return SecAggServer(std::move(state));
}

absl::Status SecAggServer::State::Replay(const Record& record) {
  if (!IsOpen()) return NotOurs("something follows their end");
  return record.kind == Record::Kind::kMessage ? ReplayMessage(record)
                                               : ReplayTransition(record);
}

absl::Status SecAggServer::State::ReplayMessage(const Record& record) {
  if (record.index >= size() || record.phase != phase) {
    return NotOurs("a message where none can be");
  }
  Member& member = members[record.index];
  auto& said = member.said[static_cast<size_t>(phase)];
  if (phase == Phase::kUnmask) {
    v1::SignedStatement statement;
    if (statement.ParseFromString(record.bytes) &&
        statement.statement().size() == kDigestBytes) {
      if (said || !Asked(phase, record.index)) {
        return NotOurs("an answer where none can be");
      }
      said = std::move(statement);
      return absl::OkStatus();
    }
  }
  ClientMessage message;
  if (!message.ParseFromString(record.bytes)) {
    return NotOurs("a message that cannot be read");
  }
  if (message.body_case() == ClientMessage::kAbort) {
    member.lost = true;
    return absl::OkStatus();
  }
  if (StepOf(message) != phase || said || !Asked(phase, record.index)) {
    return NotOurs("a message of another phase");
  }
  const absl::Status form = CheckForm(record.index, message);
  if (!form.ok()) return NotOurs("a message of another form");
  auto statement = StatementOf(record.index, message);
  if (!statement.ok()) return NotOurs("a message nobody signed");
  said = *std::move(statement);
  Apply(record.index, message);
  return absl::OkStatus();
}

absl::Status SecAggServer::State::ReplayTransition(const Record& record) {
  Message message;
  if (!message.ParseFromString(record.bytes)) {
    return NotOurs("a transition that cannot be read");
  }
  if (record.phase == Phase::kAborted &&
      message.body_case() == Message::kAbort) {
    phase = Phase::kAborted;
    code = message.abort();
    return absl::OkStatus();
  }
  if (record.phase == Phase::kDone && phase == Phase::kUnmask) {
    phase = Phase::kDone;
    return absl::OkStatus();
  }
  if (phase == Phase::kUnmask || record.phase != NextPhase() ||
      !CanOpenNext(message)) {
    return NotOurs("a transition that cannot be");
  }
  Enter(std::move(message));
  return absl::OkStatus();
}

// Signatures are taken as they were made, so that members get the same bytes;
// the freeze may leave out uploads that proved unusable.
bool SecAggServer::State::CanOpenNext(const Message& message) const {
  const std::vector<bool> counted = Counted(phase);
  switch (phase) {
    case Phase::kShares:
      return message.has_shares() && message.shares().u2() == BitmapOf(counted);
    case Phase::kAcks:
      return message.has_open();
    case Phase::kInput: {
      if (!message.has_freeze()) return false;
      const auto survivors = MembersOf(message.freeze().u3(), size());
      if (!survivors.ok()) return false;
      for (uint32_t v = 0; v < size(); ++v) {
        if ((*survivors)[v] && !counted[v]) return false;
      }
      return std::ranges::count(*survivors, true) >=
             static_cast<int64_t>(threshold);
    }
    default:
      return message.has_unmask();
  }
}

}  // namespace edgetune::secagg
