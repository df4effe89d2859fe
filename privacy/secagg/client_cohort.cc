// R1 and R2 of SecAggClient: who is in the cohort, and shares for all of it.

#include <algorithm>
#include <set>

#include "base/status.h"
#include "privacy/secagg/client_state.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/shamir.h"

namespace edgetune::secagg {
namespace {

absl::Status CheckOrder(const v1::Cohort& cohort) {
  for (int i = 1; i < cohort.entries_size(); ++i) {
    if (IdOf(cohort.entries(i - 1)) >= IdOf(cohort.entries(i))) {
      return AbortError(v1::COHORT_INVALID, "ids do not ascend");
    }
  }
  return absl::OkStatus();
}

bool KeysAreDistinct(const v1::Cohort& cohort) {
  std::set<std::string_view> keys;
  for (const v1::CohortEntry& entry : cohort.entries()) {
    keys.insert(entry.c_pk());
    keys.insert(entry.s_pk());
  }
  return keys.size() == 2 * static_cast<size_t>(cohort.entries_size());
}

bool IsOwn(const v1::CohortEntry& entry, const v1::AdvertiseKeys& advertised,
           std::string_view identity) {
  return entry.c_pk() == advertised.c_pk() &&
         entry.s_pk() == advertised.s_pk() &&
         entry.nonce() == advertised.nonce() &&
         entry.signature() == advertised.signature() &&
         entry.identity_key() == identity;
}

// A peer's key that leads to the all-zero result was chosen to.
absl::StatusOr<SecretBytes> AgreeWith(const X25519Key& key,
                                      std::string_view peer) {
  absl::StatusOr<SecretBytes> agreed = key.Agree(ByteSpan(peer));
  if (absl::IsInvalidArgument(agreed.status())) {
    return AbortError(v1::COHORT_INVALID, "a key of low order");
  }
  return agreed;
}

}  // namespace

SecAggClient::State::Answer SecAggClient::State::OnCohort(
    const v1::Cohort& message) {
  EDGETUNE_RETURN_IF_ERROR(CheckCohort(message));
  EDGETUNE_RETURN_IF_ERROR(JoinCohort(message));
  EDGETUNE_RETURN_IF_ERROR(AgreeWithAll(message));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<SharePair> deal, DealShares());
  return SealAll(std::move(deal));
}

absl::Status SecAggClient::State::CheckCohort(const v1::Cohort& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckCount(message));
  for (const v1::CohortEntry& entry : message.entries()) {
    EDGETUNE_RETURN_IF_ERROR(CheckEntrySizes(entry));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckOrder(message));
  EDGETUNE_RETURN_IF_ERROR(CheckOwnEntry(message));
  if (!KeysAreDistinct(message)) {
    return AbortError(v1::DUP_KEY, "two keys of the cohort are the same");
  }
  return CheckMembers(message);
}

absl::Status SecAggClient::State::CheckCount(const v1::Cohort& message) const {
  const auto n = static_cast<uint32_t>(message.entries_size());
  if (n < std::max(options.shape.n_min, kSecAggSmallestCohort)) {
    return AbortError(v1::COHORT_SIZE, "the cohort is too small");
  }
  if (n > std::min(options.shape.n_max, kSecAggLargestGroup)) {
    return AbortError(v1::COHORT_SIZE, "the cohort is too large");
  }
  return absl::OkStatus();
}

absl::Status SecAggClient::State::CheckOwnEntry(
    const v1::Cohort& message) const {
  const auto own = std::ranges::find_if(
      message.entries(),
      [&](const v1::CohortEntry& entry) { return IdOf(entry) == options.id; });
  if (own == message.entries().end()) {
    return AbortError(v1::COHORT_INVALID, "our entry is missing");
  }
  if (!IsOwn(*own, advertised, options.identity->public_key().raw())) {
    return AbortError(v1::COHORT_INVALID, "our entry was changed");
  }
  return absl::OkStatus();
}

absl::Status SecAggClient::State::CheckMembers(
    const v1::Cohort& message) const {
  for (const v1::CohortEntry& entry : message.entries()) {
    if (!IsInRoster(entry, options.roster)) {
      return AbortError(v1::BAD_ROSTER, "a member is not enrolled and active");
    }
  }
  for (const v1::CohortEntry& entry : message.entries()) {
    if (!HasSignedKeys(entry, options.manifest)) {
      return AbortError(v1::BAD_SIGNATURE, "a member's keys");
    }
  }
  return absl::OkStatus();
}

absl::Status SecAggClient::State::JoinCohort(const v1::Cohort& message) {
  std::vector<MemberKeys> keys;
  for (const v1::CohortEntry& entry : message.entries()) {
    Peer& peer = peers.emplace_back();
    peer.id = IdOf(entry);
    EDGETUNE_ASSIGN_OR_RETURN(peer.identity,
                              PublicKey::FromRaw(entry.identity_key()));
    if (peer.id == options.id) self = static_cast<uint32_t>(peers.size() - 1);
    keys.push_back({peer.id, entry.c_pk(), entry.s_pk()});
  }
  session = SessionId(options.manifest, keys);
  threshold = SecAggThreshold(static_cast<uint32_t>(peers.size()));
  return absl::OkStatus();
}

absl::Status SecAggClient::State::AgreeWithAll(const v1::Cohort& message) {
  for (uint32_t v = 0; v < peers.size(); ++v) {
    if (v == self) continue;
    Peer& peer = peers[v];
    const v1::CohortEntry& entry = message.entries(static_cast<int>(v));
    EDGETUNE_ASSIGN_OR_RETURN(const SecretBytes sealing,
                              AgreeWith(*c_key, entry.c_pk()));
    EDGETUNE_ASSIGN_OR_RETURN(const SecretBytes masking,
                              AgreeWith(*s_key, entry.s_pk()));
    EDGETUNE_ASSIGN_OR_RETURN(
        peer.seal_key, SealKey({session, options.id, peer.id, v, {}}, sealing));
    EDGETUNE_ASSIGN_OR_RETURN(
        peer.open_key,
        SealKey({session, peer.id, options.id, self, {}}, sealing));
    EDGETUNE_ASSIGN_OR_RETURN(
        peer.mask_key, PairMaskKey(session, masking, options.id, peer.id));
  }
  return absl::OkStatus();
}

// Our secrets cut into one pair of shares a member; draws b and commits to it.
absl::StatusOr<std::vector<SharePair>> SecAggClient::State::DealShares() {
  const auto n = static_cast<uint32_t>(peers.size());
  EDGETUNE_ASSIGN_OR_RETURN(seed, RandomSecret(*options.random, kSecretSize));
  commitment = BytesOf(CommitmentOf(session, options.id, seed));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<SecretBytes> b,
                            ShareSecret(seed, threshold, n, *options.random));
  EDGETUNE_ASSIGN_OR_RETURN(
      std::vector<SecretBytes> s,
      ShareSecret(s_key->secret(), threshold, n, *options.random));
  std::vector<SharePair> deal;
  for (uint32_t v = 0; v < n; ++v) {
    deal.push_back({std::move(s[v]), std::move(b[v])});
  }
  return deal;
}

SecAggClient::State::Answer SecAggClient::State::SealAll(
    std::vector<SharePair> deal) {
  v1::SecAggClientMessage answer;
  v1::ShareKeys& message = *answer.mutable_shares();
  message.set_session(BytesOf(session));
  message.set_commitment(commitment);
  for (uint32_t v = 0; v < peers.size(); ++v) {
    if (v == self) continue;
    const ShareRoute route{session, options.id, peers[v].id, v, commitment};
    EDGETUNE_ASSIGN_OR_RETURN(
        *message.add_ciphertexts(),
        SealShares(peers[v].seal_key, route, deal[v], *options.random));
    peers[v].seal_key = SecretBytes();
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      *message.mutable_signature(),
      options.identity->Sign(ShareKeysBytes(session, options.id, message)));
  peers[self].held = std::move(deal[self]);
  c_key.reset();
  s_key.reset();
  return answer;
}

}  // namespace edgetune::secagg
