#include "privacy/secagg/member.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "base/status.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/encoding.h"

namespace edgetune::secagg {
namespace {

constexpr absl::string_view kPayload = "edgetune/secagg/abort";

// A tree of 2^64 leaves has no longer path.
constexpr int kLongestProof = 64;

absl::Status CheckLengths(const v1::AdvertiseKeys& message) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(message.manifest(), kDigestBytes, "manifest digest"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(message.c_pk(), kKeyBytes, "c_pk"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(message.s_pk(), kKeyBytes, "s_pk"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(message.nonce(), kNonceBytes, "nonce"));
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

}  // namespace

absl::Status AbortError(v1::AbortCode code, std::string_view what) {
  return WithAbortCode(code, absl::AbortedError(std::string(what)));
}

absl::Status WithAbortCode(v1::AbortCode code, const absl::Status& status) {
  if (status.ok()) return status;
  absl::Status coded = Prefix(status, v1::AbortCode_Name(code));
  coded.SetPayload(kPayload,
                   absl::Cord(fmt::format("{}", static_cast<int>(code))));
  return coded;
}

v1::AbortCode AbortCodeOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  int number = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &number)) {
    return v1::ABORT_UNSPECIFIED;
  }
  return static_cast<v1::AbortCode>(number);
}

bool IsKnownAbort(v1::AbortCode code) {
  return code != v1::ABORT_UNSPECIFIED && v1::AbortCode_IsValid(code);
}

absl::Status CheckSize(std::string_view field, size_t size,
                       std::string_view what) {
  if (field.size() == size) return absl::OkStatus();
  return AbortError(v1::LENGTH, fmt::format("{} has {} bytes instead of {}",
                                            what, field.size(), size));
}

absl::Status CheckSession(const Digest& session, std::string_view field) {
  EDGETUNE_RETURN_IF_ERROR(CheckSize(field, kDigestBytes, "session"));
  if (field == BytesOf(session)) return absl::OkStatus();
  return AbortError(v1::REPLAY, "the message belongs to another session");
}

std::string BytesOf(const Digest& digest) {
  return std::string(digest.begin(), digest.end());
}

bool IsOfLowOrder(std::string_view key) {
  // Secrets are multiples of 8 once clamped, so any of them shows it.
  const std::array<uint8_t, kX25519Bytes> any = {};
  const auto secret = X25519Key::FromSecret(any);
  return secret.ok() &&
         absl::IsInvalidArgument(secret->Agree(ByteSpan(key)).status());
}

v1::CohortEntry MakeEntry(const RosterMember& member, const RosterProof& proof,
                          const v1::AdvertiseKeys& message) {
  v1::CohortEntry entry;
  entry.set_client_id(member.id.data(), member.id.size());
  entry.set_c_pk(message.c_pk());
  entry.set_s_pk(message.s_pk());
  entry.set_nonce(message.nonce());
  entry.set_signature(message.signature());
  entry.set_identity_key(member.identity_key);
  entry.set_enrolled_ms(member.enrolled_ms);
  entry.set_leaf_index(proof.index);
  for (const Digest& sibling : proof.path) entry.add_proof(BytesOf(sibling));
  return entry;
}

absl::StatusOr<v1::CohortEntry> CheckAdvertisement(
    const Digest& manifest, const RosterMember& member,
    const RosterProof& proof, const v1::AdvertiseKeys& message) {
  if (!member.active) return AbortError(v1::BAD_ROSTER, "not active");
  EDGETUNE_RETURN_IF_ERROR(CheckLengths(message));
  if (message.manifest() != BytesOf(manifest)) {
    return AbortError(v1::REPLAY, "keys for another manifest");
  }
  const auto key = PublicKey::FromRaw(member.identity_key);
  if (!key.ok()) return AbortError(v1::BAD_ROSTER, "no identity key");
  if (!key->Verify(AdvertiseBytes(manifest, member.id, message),
                   message.signature())) {
    return AbortError(v1::BAD_SIGNATURE, "advertised keys");
  }
  if (message.c_pk() == message.s_pk()) {
    return AbortError(v1::DUP_KEY, "one key for both uses");
  }
  if (IsOfLowOrder(message.c_pk()) || IsOfLowOrder(message.s_pk())) {
    return AbortError(v1::COHORT_INVALID, "a key of low order");
  }
  return MakeEntry(member, proof, message);
}

absl::Status CheckEntrySizes(const v1::CohortEntry& entry) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(entry.client_id(), ClientId().size(), "client id"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(entry.c_pk(), kKeyBytes, "c_pk"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(entry.s_pk(), kKeyBytes, "s_pk"));
  EDGETUNE_RETURN_IF_ERROR(CheckSize(entry.nonce(), kNonceBytes, "nonce"));
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(entry.signature(), kSignatureBytes, "signature"));
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(entry.identity_key(), kKeyBytes, "identity key"));
  if (entry.proof_size() > kLongestProof) {
    return AbortError(v1::LENGTH, "a membership proof is too long");
  }
  for (const std::string& sibling : entry.proof()) {
    EDGETUNE_RETURN_IF_ERROR(CheckSize(sibling, kDigestBytes, "proof"));
  }
  return absl::OkStatus();
}

ClientId IdOf(const v1::CohortEntry& entry) {
  ClientId id = {};
  std::ranges::copy(ByteSpan(entry.client_id()), id.begin());
  return id;
}

// An entry of a revoked client has another leaf, so no proof fits.
bool IsInRoster(const v1::CohortEntry& entry, const RosterRoot& roster) {
  RosterMember member;
  member.id = IdOf(entry);
  member.identity_key = entry.identity_key();
  member.enrolled_ms = entry.enrolled_ms();
  member.active = true;
  RosterProof proof;
  proof.index = entry.leaf_index();
  for (const std::string& sibling : entry.proof()) {
    std::ranges::copy(ByteSpan(sibling), proof.path.emplace_back().begin());
  }
  return VerifyRosterProof(proof, RosterLeafHash(member), roster.root,
                           roster.leaves);
}

bool HasSignedKeys(const v1::CohortEntry& entry, const Digest& manifest) {
  v1::AdvertiseKeys keys;
  keys.set_c_pk(entry.c_pk());
  keys.set_s_pk(entry.s_pk());
  keys.set_nonce(entry.nonce());
  const auto identity = PublicKey::FromRaw(entry.identity_key());
  return identity.ok() &&
         identity->Verify(AdvertiseBytes(manifest, IdOf(entry), keys),
                          entry.signature());
}

}  // namespace edgetune::secagg
