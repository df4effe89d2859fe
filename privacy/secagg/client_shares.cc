// R2b and R3 of SecAggClient: the shares that arrived, and the masked vector.

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/client_state.h"
#include "privacy/secagg/encoding.h"

namespace edgetune::secagg {

SecAggClient::State::Answer SecAggClient::State::OnForwarded(
    const v1::ForwardedShares& message) {
  EDGETUNE_RETURN_IF_ERROR(CheckForwarded(message));
  const std::vector<uint32_t> bad = OpenAll(message);
  complained = !bad.empty();
  v1::SecAggClientMessage answer;
  v1::ShareAck& ack = *answer.mutable_ack();
  ack.set_session(BytesOf(session));
  ack.mutable_bad()->Add(bad.begin(), bad.end());
  EDGETUNE_ASSIGN_OR_RETURN(
      *ack.mutable_signature(),
      options.identity->Sign(AckBytes(session, options.id, bad)));
  return answer;
}

absl::Status SecAggClient::State::CheckForwarded(
    const v1::ForwardedShares& message) {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  EDGETUNE_ASSIGN_OR_RETURN(u2_signed,
                            SignedByCoordinator(U2Bytes(session, message.u2()),
                                                message.signature(), "U2"));
  const auto members = MembersOf(message.u2(), size());
  if (!members.ok()) return AbortError(v1::LENGTH, "U2 is not a bitmap");
  if (!(*members)[self]) return AbortError(v1::U2_INVALID, "we are not in U2");
  std::vector<uint32_t> others;
  for (uint32_t v = 0; v < size(); ++v) {
    if ((*members)[v] && v != self) others.push_back(v);
  }
  if (!std::ranges::equal(others, message.shares(), {}, {},
                          &v1::ForwardedShare::index)) {
    return AbortError(v1::U2_INVALID, "not one entry for each other member");
  }
  for (const v1::ForwardedShare& share : message.shares()) {
    EDGETUNE_RETURN_IF_ERROR(
        CheckSize(share.commitment(), kDigestBytes, "commitment"));
    EDGETUNE_RETURN_IF_ERROR(
        CheckSize(share.ciphertext(), kCiphertextBytes, "ciphertext"));
  }
  if (others.size() + 1 < threshold) {
    return AbortError(v1::NOT_ENOUGH, "U2 is below the threshold");
  }
  in_u2 = *members;
  u2 = message.u2();
  return absl::OkStatus();
}

// Indices of those whose shares could not be opened.
std::vector<uint32_t> SecAggClient::State::OpenAll(
    const v1::ForwardedShares& message) {
  std::vector<uint32_t> bad;
  for (const v1::ForwardedShare& share : message.shares()) {
    Peer& peer = peers[share.index()];
    const ShareRoute route{session, peer.id, options.id, self,
                           share.commitment()};
    auto opened = OpenShares(peer.open_key, route, share.ciphertext());
    if (opened.ok()) {
      peer.held = std::move(*opened);
    } else {
      bad.push_back(share.index());
    }
  }
  for (Peer& peer : peers) peer.open_key = SecretBytes();
  return bad;
}

SecAggClient::State::Answer SecAggClient::State::OnOpen(
    const v1::OpenInput& message, Actions& actions) {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  if (complained) {
    return AbortError(v1::BAD_SHARE, "our complaint was ignored");
  }
  EDGETUNE_RETURN_IF_ERROR(MaskInput());
  v1::SecAggClientMessage answer;
  v1::MaskedInput& input = *answer.mutable_input();
  input.set_session(BytesOf(session));
  input.set_total_length(masked.size());
  input.set_digest(Sha256Bytes(masked));
  EDGETUNE_ASSIGN_OR_RETURN(
      *input.mutable_signature(),
      options.identity->Sign(InputBytes(session, options.id, input)));
  spent = true;
  actions.push_back({.kind = Action::Kind::kSpend, .session = session});
  Repeat(kOpen, actions);
  return answer;
}

// y = x + PRG(k_self) + sum over v < u of PRG(k_uv) - sum over v > u of
// PRG(k_uv), v in U2, in the place of x.
absl::Status SecAggClient::State::MaskInput() {
  std::vector<MaskTerm> terms;
  EDGETUNE_ASSIGN_OR_RETURN(SecretBytes own,
                            SelfMaskKey(session, options.id, seed));
  terms.push_back({std::move(own), false});
  for (uint32_t v = 0; v < size(); ++v) {
    if (!in_u2[v] || v == self) continue;
    terms.push_back({std::move(peers[v].mask_key), v > self});
  }
  EDGETUNE_RETURN_IF_ERROR(ApplyMasks(terms, options.threads, input));
  masked = PackLanes(options.shape, input);
  RingVector().swap(input);
  seed = SecretBytes();
  for (Peer& peer : peers) peer.mask_key = SecretBytes();
  return absl::OkStatus();
}

}  // namespace edgetune::secagg
