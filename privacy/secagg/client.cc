#include "privacy/secagg/client.h"

#include <utility>

#include "base/status.h"
#include "privacy/secagg/client_state.h"
#include "privacy/secagg/encoding.h"

namespace edgetune::secagg {
namespace {

using Kind = SecAggClient::Action::Kind;
using Body = v1::SecAggServerMessage::BodyCase;

bool IsOver(SecAggClient::Phase phase) {
  return phase == SecAggClient::Phase::kDone ||
         phase == SecAggClient::Phase::kAborted;
}

}  // namespace

absl::Status SecAggClient::State::Advertise() {
  EDGETUNE_ASSIGN_OR_RETURN(c_key, X25519Key::Generate(*options.random));
  EDGETUNE_ASSIGN_OR_RETURN(s_key, X25519Key::Generate(*options.random));
  std::array<uint8_t, kNonceBytes> nonce;
  EDGETUNE_RETURN_IF_ERROR(options.random->Fill(nonce));
  advertised.set_manifest(BytesOf(options.manifest));
  advertised.set_c_pk(BytesOf(c_key->public_key()));
  advertised.set_s_pk(BytesOf(s_key->public_key()));
  advertised.set_nonce(nonce.data(), nonce.size());
  EDGETUNE_ASSIGN_OR_RETURN(*advertised.mutable_signature(),
                            options.identity->Sign(AdvertiseBytes(
                                options.manifest, options.id, advertised)));
  return absl::OkStatus();
}

absl::Status SecAggClient::State::Take(const v1::SecAggServerMessage& message,
                                       Actions& actions) {
  const int step = static_cast<int>(message.body_case()) - Body::kCohort;
  if (step < kCohort || step >= kSteps) {
    return AbortError(v1::LENGTH, "a message of an unknown kind");
  }
  const int next =
      static_cast<int>(phase) - static_cast<int>(Phase::kAdvertised);
  if (step > next) return AbortError(v1::REPLAY, "a message before its time");
  const Digest digest = Sha256(message.SerializeAsString());
  if (step < next) {
    if (digest != taken[step]) return Contradicted(message);
    Repeat(static_cast<Step>(step), actions);
    return absl::OkStatus();
  }
  EDGETUNE_ASSIGN_OR_RETURN(answers[step], Dispatch(message, actions));
  taken[step] = digest;
  if (step != kOpen) Repeat(static_cast<Step>(step), actions);
  phase = static_cast<Phase>(static_cast<int>(phase) + 1);
  return absl::OkStatus();
}

SecAggClient::State::Answer SecAggClient::State::Dispatch(
    const v1::SecAggServerMessage& message, Actions& actions) {
  switch (message.body_case()) {
    case Body::kCohort:
      return OnCohort(message.cohort());
    case Body::kShares:
      return OnForwarded(message.shares());
    case Body::kOpen:
      return OnOpen(message.open(), actions);
    case Body::kFreeze:
      return OnFreeze(message.freeze(), actions);
    case Body::kUnmask:
      return OnUnmask(message.unmask());
    default:
      return AbortError(v1::LENGTH, "a message of an unknown kind");
  }
}

// What was answered to `step`, again; nothing where only R5's answer is left.
void SecAggClient::State::Repeat(Step step, Actions& actions) const {
  if (step == kOpen) {
    if (masked.empty()) return;
    actions.push_back(
        {.kind = Kind::kUpload, .session = session, .masked = masked});
  } else if (answers[step]) {
    actions.push_back({.kind = Kind::kSend, .message = *answers[step]});
  }
}

SecAggClient::Actions SecAggClient::State::Abort(const absl::Status& status) {
  const v1::AbortCode named = AbortCodeOf(status);
  const v1::AbortCode code = IsKnownAbort(named) ? named : v1::INTERNAL;
  Actions actions;
  if (!evidence.empty()) {
    actions.push_back({.kind = Kind::kEvidence,
                       .session = session,
                       .document = std::exchange(evidence, {})});
  }
  v1::SecAggClientMessage message;
  message.set_abort(code);
  actions.push_back({.kind = Kind::kSend, .message = std::move(message)});
  actions.push_back({.kind = Kind::kAborted,
                     .session = session,
                     .code = code,
                     .detail = std::string(status.message())});
  WipeSecrets();
  WipeAnswers();
  phase = Phase::kAborted;
  return actions;
}

void SecAggClient::State::WipeSecrets() {
  c_key.reset();
  s_key.reset();
  seed = SecretBytes();
  for (Peer& peer : peers) {
    peer.seal_key = SecretBytes();
    peer.open_key = SecretBytes();
    peer.mask_key = SecretBytes();
    peer.held = SharePair();
  }
  WipeBytes({reinterpret_cast<uint8_t*>(input.data()),
             input.size() * sizeof(uint32_t)});
  RingVector().swap(input);
  std::string().swap(masked);
}

void SecAggClient::State::WipeAnswers() {
  if (answers[kUnmask]) {
    v1::UnmaskShares& shown = *answers[kUnmask]->mutable_unmask();
    for (auto& share : *shown.mutable_b_shares()) {
      WipeString(*share.mutable_share());
    }
    for (auto& share : *shown.mutable_s_shares()) {
      WipeString(*share.mutable_share());
    }
  }
  answers = {};
}

absl::StatusOr<v1::SignedStatement> SecAggClient::State::SignedByCoordinator(
    std::string statement, const std::string& signature,
    std::string_view what) const {
  for (const PublicKey& key : options.coordinator) {
    if (!key.Verify(statement, signature)) continue;
    v1::SignedStatement both;
    both.set_statement(std::move(statement));
    both.set_signature(signature);
    both.set_signer(key.raw());
    return both;
  }
  return AbortError(v1::BAD_SIGNATURE, what);
}

void SecAggClient::State::KeepEvidence(const v1::SignedStatement& first,
                                       const v1::SignedStatement& second) {
  v1::Contradiction contradiction;
  *contradiction.add_statements() = first;
  *contradiction.add_statements() = second;
  evidence = contradiction.SerializeAsString();
}

SecAggClient::State::~State() {
  WipeSecrets();
  WipeAnswers();
}

SecAggClient::SecAggClient(Options options)
    : state_(std::make_unique<State>(std::move(options))) {}

SecAggClient::~SecAggClient() = default;
SecAggClient::SecAggClient(SecAggClient&&) noexcept = default;
SecAggClient& SecAggClient::operator=(SecAggClient&&) noexcept = default;

SecAggClient::Actions SecAggClient::Start(RingVector input) {
  EDGETUNE_CHECK(state_->phase == Phase::kReady);
  EDGETUNE_CHECK(input.size() == state_->options.shape.size());
  state_->input = std::move(input);
  const absl::Status status = state_->Advertise();
  if (!status.ok()) return state_->Abort(status);
  state_->phase = Phase::kAdvertised;
  return Resend();
}

SecAggClient::Actions SecAggClient::Handle(
    const v1::SecAggServerMessage& message) {
  if (IsOver(state_->phase) || state_->phase == Phase::kReady) return {};
  if (message.body_case() == Body::kAbort) {
    const bool known = IsKnownAbort(message.abort());
    Action action{.kind = Kind::kAborted, .session = state_->session};
    action.code = known ? message.abort() : v1::LENGTH;
    action.detail = "the coordinator ended the session";
    End();
    state_->phase = Phase::kAborted;
    return {std::move(action)};
  }
  Actions actions;
  const absl::Status status = state_->Take(message, actions);
  return status.ok() ? actions : state_->Abort(status);
}

SecAggClient::Actions SecAggClient::Uploaded() {
  if (state_->phase != Phase::kMasked) return {};
  state_->uploaded = true;
  return Resend();
}

SecAggClient::Actions SecAggClient::Resend() const {
  v1::SecAggClientMessage message;
  if (state_->phase == Phase::kAdvertised) {
    *message.mutable_advertise() = state_->advertised;
  } else if (state_->phase == Phase::kReady || IsOver(state_->phase) ||
             (state_->phase == Phase::kMasked && !state_->uploaded)) {
    return {};
  } else {
    message = *state_->answers[static_cast<int>(state_->phase) -
                               static_cast<int>(Phase::kShared)];
  }
  return {{.kind = Kind::kSend, .message = std::move(message)}};
}

SecAggClient::Actions SecAggClient::Fail(v1::AbortCode code,
                                         std::string_view detail) {
  if (IsOver(state_->phase)) return {};
  return state_->Abort(AbortError(code, detail));
}

void SecAggClient::End() {
  if (IsOver(state_->phase)) return;
  state_->WipeSecrets();
  state_->WipeAnswers();
  state_->phase = Phase::kDone;
}

SecAggClient::Phase SecAggClient::phase() const { return state_->phase; }
const Digest& SecAggClient::session() const { return state_->session; }
bool SecAggClient::spent() const { return state_->spent; }

}  // namespace edgetune::secagg
