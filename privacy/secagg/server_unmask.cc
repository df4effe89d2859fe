// R5 of SecAggServer: from shares to the masks that come off the sum.

#include "base/status.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/server_state.h"
#include "privacy/secagg/session_keys.h"

namespace edgetune::secagg {

absl::Status SecAggServer::State::Unmask(Actions& actions) {
  std::vector<Opening::Holder> holders;
  std::vector<uint32_t> dealers;
  for (uint32_t v = 0; v < size(); ++v) {
    if (in_u2[v]) dealers.push_back(v);
    if (Answered(phase, v)) holders.push_back({v, members[v].shares});
  }
  Opening opened(std::move(holders), threshold);
  Action unmask{.kind = Action::Kind::kUnmask};
  absl::Status status;
  for (size_t d = 0; d < dealers.size() && status.ok(); ++d) {
    const uint32_t v = dealers[d];
    status = in_u3[v] ? OpenSeed({opened, d, v}, unmask.masks)
                      : OpenMaskKey({opened, d, v}, unmask.masks);
  }
  for (const auto& [dealer, holder] : opened.wrong()) {
    actions.push_back({.kind = Action::Kind::kBlame,
                       .index = dealers[dealer],
                       .other = holder});
  }
  EDGETUNE_RETURN_IF_ERROR(status);
  Wipe();
  phase = Phase::kVerifying;
  actions.push_back(std::move(unmask));
  return absl::OkStatus();
}

// A survivor added the mask of its own seed.
absl::Status SecAggServer::State::OpenSeed(const Dealer& dealer,
                                           std::vector<MaskTerm>& masks) const {
  const Member& member = members[dealer.index];
  EDGETUNE_ASSIGN_OR_RETURN(
      const SecretBytes seed,
      dealer.opened.Open(dealer.number, [&](const SecretBytes& b) {
        return BytesOf(CommitmentOf(session, member.id, b)) ==
               member.commitment;
      }));
  EDGETUNE_ASSIGN_OR_RETURN(SecretBytes key,
                            SelfMaskKey(session, member.id, seed));
  masks.push_back({std::move(key), true});
  return absl::OkStatus();
}

// Survivor u added the mask it shares with a dropped v if v < u, else
// subtracted it.
absl::Status SecAggServer::State::OpenMaskKey(
    const Dealer& dealer, std::vector<MaskTerm>& masks) const {
  const uint32_t v = dealer.index;
  EDGETUNE_ASSIGN_OR_RETURN(
      const SecretBytes secret,
      dealer.opened.Open(dealer.number, [&](const SecretBytes& s) {
        const auto key = X25519Key::FromSecret(s.bytes());
        return key.ok() && BytesOf(key->public_key()) == cohort[v].s_pk();
      }));
  EDGETUNE_ASSIGN_OR_RETURN(const X25519Key key,
                            X25519Key::FromSecret(secret.bytes()));
  for (uint32_t u = 0; u < size(); ++u) {
    if (!in_u3[u]) continue;
    EDGETUNE_ASSIGN_OR_RETURN(const SecretBytes agreed,
                              key.Agree(ByteSpan(cohort[u].s_pk())));
    EDGETUNE_ASSIGN_OR_RETURN(
        SecretBytes mask,
        PairMaskKey(session, agreed, members[u].id, members[v].id));
    masks.push_back({std::move(mask), v < u});
  }
  return absl::OkStatus();
}

}  // namespace edgetune::secagg
