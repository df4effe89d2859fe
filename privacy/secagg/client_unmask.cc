// R4 and R5 of SecAggClient: one survivor set, and one kind of share each.

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/client_state.h"
#include "privacy/secagg/encoding.h"

namespace edgetune::secagg {
SecAggClient::State::Answer SecAggClient::State::OnFreeze(
    const v1::Freeze& message, Actions& actions) {
  EDGETUNE_RETURN_IF_ERROR(CheckSurvivors(message));
  v1::SecAggClientMessage answer;
  v1::SurvivorSignature& survivors = *answer.mutable_survivors();
  survivors.set_session(BytesOf(session));
  EDGETUNE_ASSIGN_OR_RETURN(*survivors.mutable_signature(),
                            options.identity->Sign(U3Bytes(session, u2, u3)));
  std::string().swap(masked);
  actions.push_back({.kind = Action::Kind::kRemember,
                     .session = session,
                     .document = u3_signed.SerializeAsString()});
  return answer;
}

absl::Status SecAggClient::State::CheckSurvivors(const v1::Freeze& message) {
  if (!uploaded) {
    return AbortError(v1::REPLAY, "a freeze before our vector was sent");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  EDGETUNE_ASSIGN_OR_RETURN(
      u3_signed, SignedByCoordinator(FreezeBytes(session, u2, message.u3()),
                                     message.signature(), "U3"));
  const auto members = MembersOf(message.u3(), size());
  if (!members.ok()) return AbortError(v1::LENGTH, "U3 is not a bitmap");
  KeepEvidence(u2_signed, u3_signed);
  for (size_t v = 0; v < size(); ++v) {
    if ((*members)[v] && !in_u2[v]) {
      return AbortError(v1::U3_INVALID, "U3 is not part of U2");
    }
  }
  if (!(*members)[self]) return AbortError(v1::U3_INVALID, "we are not in U3");
  if (std::ranges::count(*members, true) < static_cast<int64_t>(threshold)) {
    return AbortError(v1::U3_INVALID, "U3 is below the threshold");
  }
  evidence.clear();
  in_u3 = *members;
  u3 = message.u3();
  return absl::OkStatus();
}

SecAggClient::State::Answer SecAggClient::State::OnUnmask(
    const v1::UnmaskRequest& message) {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  EDGETUNE_RETURN_IF_ERROR(CheckSignatures(message));
  v1::SecAggClientMessage answer;
  v1::UnmaskShares& shares = *answer.mutable_unmask();
  shares = SharesToShow();
  std::string statement = UnmaskBytes(session, options.id, shares);
  auto signature = options.identity->Sign(statement);
  WipeString(statement);
  EDGETUNE_RETURN_IF_ERROR(signature);
  shares.set_signature(*std::move(signature));
  WipeSecrets();
  WipeAnswers();
  return answer;
}

absl::Status SecAggClient::State::CheckSignatures(
    const v1::UnmaskRequest& message) const {
  if (static_cast<size_t>(message.signatures_size()) > size()) {
    return AbortError(v1::LENGTH, "more signatures than members");
  }
  const std::string statement = U3Bytes(session, u2, u3);
  std::vector<bool> counted(size(), false);
  uint32_t valid = 0;
  for (const v1::IndexedSignature& entry : message.signatures()) {
    const uint32_t v = entry.index();
    if (v >= size()) return AbortError(v1::LENGTH, "no member of that index");
    if (!in_u3[v]) continue;
    if (counted[v]) continue;
    if (!peers[v].identity->Verify(statement, entry.signature())) continue;
    counted[v] = true;
    ++valid;
  }
  if (valid >= threshold) return absl::OkStatus();
  return AbortError(v1::TOO_FEW_SIGS, "too few members signed this U3");
}

// One kind of share for each dealer: of its seed if its vector is in the sum,
// of its mask key if it is not.
v1::UnmaskShares SecAggClient::State::SharesToShow() const {
  v1::UnmaskShares shares;
  shares.set_session(BytesOf(session));
  for (uint32_t v = 0; v < size(); ++v) {
    if (!in_u2[v]) continue;
    const SecretBytes& share = in_u3[v] ? peers[v].held.b : peers[v].held.s;
    v1::IndexedShare& shown =
        in_u3[v] ? *shares.add_b_shares() : *shares.add_s_shares();
    shown.set_index(v);
    shown.set_share(share.bytes().data(), share.size());
  }
  return shares;
}

absl::Status SecAggClient::State::Contradicted(
    const v1::SecAggServerMessage& message) {
  v1::SignedStatement other;
  if (message.has_shares()) {
    const v1::ForwardedShares& shares = message.shares();
    EDGETUNE_ASSIGN_OR_RETURN(
        other, SignedByCoordinator(U2Bytes(session, shares.u2()),
                                   shares.signature(), "another U2"));
    if (other.statement() != u2_signed.statement()) {
      KeepEvidence(u2_signed, other);
    }
  } else if (message.has_freeze()) {
    const v1::Freeze& freeze = message.freeze();
    EDGETUNE_ASSIGN_OR_RETURN(
        other, SignedByCoordinator(FreezeBytes(session, u2, freeze.u3()),
                                   freeze.signature(), "another U3"));
    if (other.statement() != u3_signed.statement()) {
      KeepEvidence(u3_signed, other);
      return AbortError(v1::U3_EQUIVOCATION, "two survivor sets were signed");
    }
  }
  return AbortError(v1::REPLAY, "another message for a step that was taken");
}

}  // namespace edgetune::secagg
