#include "privacy/secagg/server.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/server_state.h"

namespace edgetune::secagg {
namespace {

using Kind = SecAggServer::Action::Kind;

// Unknown fields are dropped: nobody reads them, and they cost space.
std::string RecordBytes(v1::SecAggClientMessage message) {
  message.DiscardUnknownFields();
  return message.SerializeAsString();
}

// Rows first: they are committed before anything leaves.
SecAggServer::Actions RecordsFirst(SecAggServer::Actions actions) {
  std::stable_partition(actions.begin(), actions.end(), [](const auto& action) {
    return action.kind == Kind::kRecord;
  });
  return actions;
}

absl::Status CheckEntry(const v1::CohortEntry& entry) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(entry.client_id(), ClientId().size(), "client id"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(entry.c_pk(), kKeyBytes, "c_pk"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(entry.s_pk(), kKeyBytes, "s_pk"));
  return CheckSize(entry.identity_key(), kKeyBytes, "identity key");
}

}  // namespace

std::optional<SecAggServer::Phase> StepOf(
    const v1::SecAggClientMessage& message) {
  using Body = v1::SecAggClientMessage::BodyCase;
  switch (message.body_case()) {
    case Body::kShares:
      return SecAggServer::Phase::kShares;
    case Body::kAck:
      return SecAggServer::Phase::kAcks;
    case Body::kInput:
      return SecAggServer::Phase::kInput;
    case Body::kSurvivors:
      return SecAggServer::Phase::kSurvivors;
    case Body::kUnmask:
      return SecAggServer::Phase::kUnmask;
    default:
      return std::nullopt;
  }
}

absl::Status SecAggServer::State::Join(std::vector<v1::CohortEntry> entries) {
  if (entries.size() < options.shape.n_min ||
      entries.size() > options.shape.n_max) {
    return absl::InvalidArgumentError("a cohort of a size the plan excludes");
  }
  std::vector<MemberKeys> keys;
  for (const v1::CohortEntry& entry : entries) {
    if (!CheckEntry(entry).ok()) {
      return absl::InvalidArgumentError("a cohort entry with wrong lengths");
    }
    Member& member = members.emplace_back();
    std::ranges::copy(ByteSpan(entry.client_id()), member.id.begin());
    if (!keys.empty() && keys.back().id >= member.id) {
      return absl::InvalidArgumentError("a cohort whose ids do not ascend");
    }
    EDGETUNE_ASSIGN_OR_RETURN(member.identity,
                              PublicKey::FromRaw(entry.identity_key()));
    keys.push_back({member.id, entry.c_pk(), entry.s_pk()});
  }
  session = SessionId(options.manifest, keys);
  threshold = SecAggThreshold(size());
  cohort = std::move(entries);
  Message message;
  message.mutable_cohort()->mutable_entries()->Add(cohort.begin(),
                                                   cohort.end());
  opening = std::make_shared<const Message>(std::move(message));
  return absl::OkStatus();
}

void SecAggServer::State::Accept(uint32_t index, const ClientMessage& message,
                                 Actions& actions) {
  if (message.body_case() == ClientMessage::kAbort) {
    return Leave(index, message, actions);
  }
  const std::optional<Phase> step = StepOf(message);
  if (!step) {
    return Refuse(index, AbortError(v1::LENGTH, "an unknown kind"), actions);
  }
  if (*step > phase) {
    return Refuse(index, AbortError(v1::REPLAY, "before its time"), actions);
  }
  if (const absl::Status form = CheckForm(index, message); !form.ok()) {
    return Refuse(index, form, actions);
  }
  if (members[index].said[static_cast<size_t>(*step)]) {
    return AcceptAgain(index, *step, message, actions);
  }
  if (!Asked(*step, index)) {
    return Refuse(index, AbortError(v1::REPLAY, "was not asked"), actions);
  }
  if (*step == Phase::kInput && phase > Phase::kInput) {
    actions.push_back({.kind = Kind::kLate, .index = index});
    return;
  }
  if (*step < phase || members[index].lost) {
    return Refuse(index, AbortError(v1::DEADLINE, "too late"), actions);
  }
  absl::StatusOr<v1::SignedStatement> statement = StatementOf(index, message);
  if (!statement.ok()) return Refuse(index, statement.status(), actions);
  Record record{Record::Kind::kMessage, *step, index, {}};
  record.bytes = *step == Phase::kUnmask ? statement->SerializeAsString()
                                         : RecordBytes(message);
  members[index].said[static_cast<size_t>(*step)] = *std::move(statement);
  Apply(index, message);
  actions.push_back({.kind = Kind::kRecord, .record = std::move(record)});
  if (*step == Phase::kInput) {
    actions.push_back(
        {.kind = Kind::kFold, .index = index, .digest = members[index].upload});
  }
}

// The same statement gets what the phase sends once more; another one is
// evidence against its sender.
void SecAggServer::State::AcceptAgain(uint32_t index, Phase step,
                                      const ClientMessage& message,
                                      Actions& actions) {
  Member& member = members[index];
  const v1::SignedStatement& said = *member.said[static_cast<size_t>(step)];
  const absl::StatusOr<v1::SignedStatement> again = StatementOf(index, message);
  if (!again.ok()) return Refuse(index, again.status(), actions);
  if (again->statement() == said.statement()) {
    // After a restart the digest of R5's answer is known, its shares are not.
    if (step == Phase::kUnmask && Awaits(index)) Apply(index, message);
    if (Awaits(index)) SendTo(index, actions);
    return;
  }
  Refuse(index, AbortError(v1::REPLAY, "another answer than before"), actions);
  if (step == Phase::kUnmask) return;
  v1::Contradiction contradiction;
  *contradiction.add_statements() = said;
  *contradiction.add_statements() = *again;
  actions.back().document = contradiction.SerializeAsString();
}

void SecAggServer::State::Leave(uint32_t index, const ClientMessage& message,
                                Actions& actions) {
  if (members[index].lost || !IsOpen()) return;
  members[index].lost = true;
  members[index].forwarded.reset();
  const bool known = IsKnownAbort(message.abort());
  actions.push_back(
      {.kind = Kind::kRecord,
       .record = {Record::Kind::kMessage, phase, index, RecordBytes(message)}});
  actions.push_back({.kind = Kind::kLeft,
                     .index = index,
                     .code = known ? message.abort() : v1::LENGTH});
}

// What a checked message leaves behind.
void SecAggServer::State::Apply(uint32_t index, const ClientMessage& message) {
  Member& member = members[index];
  switch (message.body_case()) {
    case ClientMessage::kShares:
      member.commitment = message.shares().commitment();
      for (const std::string& sealed : message.shares().ciphertexts()) {
        member.ciphertexts += sealed;
      }
      return;
    case ClientMessage::kAck:
      member.bad.assign(message.ack().bad().begin(), message.ack().bad().end());
      member.forwarded.reset();
      return;
    case ClientMessage::kInput:
      std::ranges::copy(ByteSpan(message.input().digest()),
                        member.upload.begin());
      return;
    case ClientMessage::kUnmask: {
      auto b = message.unmask().b_shares().begin();
      auto s = message.unmask().s_shares().begin();
      for (uint32_t v = 0; v < size(); ++v) {
        if (!in_u2[v]) continue;
        const v1::IndexedShare& share = in_u3[v] ? *b++ : *s++;
        member.shares.push_back(SecretBytes::Copy(ByteSpan(share.share())));
      }
      return;
    }
    default:
      return;
  }
}

void SecAggServer::State::Refuse(uint32_t index, const absl::Status& why,
                                 Actions& actions) const {
  Action refusal{.kind = Kind::kRefuse, .index = index};
  refusal.code = AbortCodeOf(why);
  refusal.detail = std::string(why.message());
  actions.push_back(std::move(refusal));
}

void SecAggServer::State::SendTo(uint32_t index, Actions& actions) const {
  const auto& message =
      phase == Phase::kAcks ? members[index].forwarded : opening;
  actions.push_back({.kind = Kind::kSend, .index = index, .message = message});
}

absl::StatusOr<SecAggServer> SecAggServer::Begin(
    const Options& options, std::vector<v1::CohortEntry> cohort,
    Actions& actions) {
  auto state = std::make_unique<State>(options);
  EDGETUNE_RETURN_IF_ERROR(state->Join(std::move(cohort)));
  actions.push_back({.kind = Kind::kRecord,
                     .record = {Record::Kind::kTransition, Phase::kShares, 0,
                                BytesOf(state->session)}});
  for (uint32_t v = 0; v < state->size(); ++v) state->SendTo(v, actions);
  return SecAggServer(std::move(state));
}

SecAggServer::SecAggServer(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
SecAggServer::~SecAggServer() = default;
SecAggServer::SecAggServer(SecAggServer&&) noexcept = default;
SecAggServer& SecAggServer::operator=(SecAggServer&&) noexcept = default;

SecAggServer::Actions SecAggServer::Handle(
    uint32_t index, const v1::SecAggClientMessage& message, absl::Time now) {
  EDGETUNE_CHECK(index < state_->size());
  Actions actions;
  state_->CloseDue(now, actions);
  if (!state_->IsOver()) state_->Accept(index, message, actions);
  state_->CloseDue(now, actions);
  return RecordsFirst(std::move(actions));
}

SecAggServer::Actions SecAggServer::Lost(uint32_t index, absl::Time now) {
  EDGETUNE_CHECK(index < state_->size());
  state_->members[index].lost = true;
  state_->members[index].forwarded.reset();
  return Timer(now);
}

SecAggServer::Actions SecAggServer::Unusable(uint32_t index, absl::Time now) {
  EDGETUNE_CHECK(index < state_->size());
  if (state_->phase > Phase::kInput) {
    return Fail(v1::INTERNAL, "the upload of a survivor is damaged");
  }
  state_->members[index].unusable = true;
  return Lost(index, now);
}

SecAggServer::Actions SecAggServer::Timer(absl::Time now) {
  Actions actions;
  state_->CloseDue(now, actions);
  return RecordsFirst(std::move(actions));
}

SecAggServer::Actions SecAggServer::Resend(uint32_t index) const {
  Actions actions;
  if (Awaits(index)) state_->SendTo(index, actions);
  return actions;
}

SecAggServer::Actions SecAggServer::Finished() {
  if (state_->phase != Phase::kVerifying) return {};
  state_->phase = Phase::kDone;
  state_->Wipe();
  Actions actions;
  actions.push_back(
      {.kind = Kind::kRecord,
       .record = {Record::Kind::kTransition, Phase::kDone, 0, ""}});
  return actions;
}

SecAggServer::Actions SecAggServer::Fail(v1::AbortCode code,
                                         std::string detail) {
  Actions actions;
  if (!state_->IsOver()) state_->Abort(code, std::move(detail), actions);
  return actions;
}

SecAggServer::Phase SecAggServer::phase() const { return state_->phase; }
v1::AbortCode SecAggServer::abort_code() const { return state_->code; }
absl::Time SecAggServer::NextTimer() const { return state_->Deadline(); }
const Digest& SecAggServer::session() const { return state_->session; }
const std::vector<v1::CohortEntry>& SecAggServer::cohort() const {
  return state_->cohort;
}

std::optional<uint32_t> SecAggServer::IndexOf(const ClientId& id) const {
  const auto at =
      std::ranges::lower_bound(state_->members, id, {}, &State::Member::id);
  if (at == state_->members.end() || at->id != id) return std::nullopt;
  return static_cast<uint32_t>(at - state_->members.begin());
}

bool SecAggServer::Awaits(uint32_t index) const {
  return index < state_->size() && state_->Awaits(index);
}

std::vector<bool> SecAggServer::survivors() const { return state_->in_u3; }

v1::GroupReceipt SecAggServer::Receipt() const {
  v1::GroupReceipt receipt;
  receipt.set_session(BytesOf(state_->session));
  receipt.mutable_cohort()->Add(state_->cohort.begin(), state_->cohort.end());
  receipt.set_threshold(state_->threshold);
  receipt.set_u2(state_->u2);
  receipt.set_u3(state_->u3);
  *receipt.mutable_signatures() = state_->signatures.signatures();
  return receipt;
}

std::string_view PhaseName(SecAggServer::Phase phase) {
  switch (phase) {
    case SecAggServer::Phase::kShares:
      return "shares";
    case SecAggServer::Phase::kAcks:
      return "acks";
    case SecAggServer::Phase::kInput:
      return "input";
    case SecAggServer::Phase::kSurvivors:
      return "survivors";
    case SecAggServer::Phase::kUnmask:
      return "unmask";
    case SecAggServer::Phase::kVerifying:
      return "verifying";
    case SecAggServer::Phase::kDone:
      return "done";
    case SecAggServer::Phase::kAborted:
      return "aborted";
  }
  return "unknown";
}

}  // namespace edgetune::secagg
