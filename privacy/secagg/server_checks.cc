// What SecAggServer demands of a message before it believes any of it.

#include <algorithm>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/server_state.h"

namespace edgetune::secagg {
namespace {

using Shares = google::protobuf::RepeatedPtrField<v1::IndexedShare>;

// One 32-byte share of each member of `dealers`, ascending.
absl::Status CheckShares(const Shares& shares,
                         const std::vector<bool>& dealers) {
  const int64_t wanted = std::ranges::count(dealers, true);
  if (shares.size() != wanted) {
    return AbortError(v1::LENGTH, "another number of shares");
  }
  uint32_t dealer = 0;
  for (const v1::IndexedShare& share : shares) {
    while (!dealers[dealer]) ++dealer;
    if (share.index() != dealer) {
      return AbortError(v1::LENGTH, "a share of the wrong kind or order");
    }
    EDGETUNE_RETURN_IF_ERROR(CheckSize(share.share(), kShareBytes, "share"));
    ++dealer;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SecAggServer::State::CheckForm(
    uint32_t index, const ClientMessage& message) const {
  switch (message.body_case()) {
    case ClientMessage::kShares:
      return CheckForm(message.shares());
    case ClientMessage::kAck:
      return CheckForm(index, message.ack());
    case ClientMessage::kInput:
      return CheckForm(message.input());
    case ClientMessage::kSurvivors:
      return CheckForm(message.survivors());
    case ClientMessage::kUnmask:
      return CheckForm(message.unmask());
    default:
      return AbortError(v1::LENGTH, "an unknown kind");
  }
}

absl::Status SecAggServer::State::CheckForm(
    const v1::ShareKeys& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  if (message.ciphertexts_size() + 1 != static_cast<int>(size())) {
    return AbortError(v1::LENGTH, "another number of ciphertexts");
  }
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize(message.commitment(), kDigestBytes, "commitment"));
  for (const std::string& sealed : message.ciphertexts()) {
    EDGETUNE_RETURN_IF_ERROR(CheckSize(sealed, kCiphertextBytes, "ciphertext"));
  }
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

absl::Status SecAggServer::State::CheckForm(uint32_t index,
                                            const v1::ShareAck& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  int64_t last = -1;
  for (const uint32_t v : message.bad()) {
    if (v <= last) return AbortError(v1::LENGTH, "complaints do not ascend");
    if (v >= size()) return AbortError(v1::LENGTH, "no member of that index");
    if (v == index) return AbortError(v1::LENGTH, "a complaint about oneself");
    if (!in_u2[v]) return AbortError(v1::LENGTH, "a complaint outside U2");
    last = v;
  }
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

absl::Status SecAggServer::State::CheckForm(
    const v1::MaskedInput& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  if (message.total_length() != options.shape.byte_size()) {
    return AbortError(v1::LENGTH, "a vector of another length");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckSize(message.digest(), kDigestBytes, "digest"));
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

absl::Status SecAggServer::State::CheckForm(
    const v1::SurvivorSignature& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

absl::Status SecAggServer::State::CheckForm(
    const v1::UnmaskShares& message) const {
  EDGETUNE_RETURN_IF_ERROR(CheckSession(session, message.session()));
  EDGETUNE_RETURN_IF_ERROR(CheckShares(message.b_shares(), in_u3));
  std::vector<bool> dropped = in_u2;
  for (uint32_t v = 0; v < size(); ++v) dropped[v] = in_u2[v] && !in_u3[v];
  EDGETUNE_RETURN_IF_ERROR(CheckShares(message.s_shares(), dropped));
  return CheckSize(message.signature(), kSignatureBytes, "signature");
}

absl::StatusOr<v1::SignedStatement> SecAggServer::State::StatementOf(
    uint32_t index, const ClientMessage& message) const {
  const Member& member = members[index];
  std::string statement;
  v1::SignedStatement both;
  if (message.has_shares()) {
    statement = ShareKeysBytes(session, member.id, message.shares());
    both.set_signature(message.shares().signature());
  } else if (message.has_ack()) {
    const auto& bad = message.ack().bad();
    const std::vector<uint32_t> indices(bad.begin(), bad.end());
    statement = AckBytes(session, member.id, indices);
    both.set_signature(message.ack().signature());
  } else if (message.has_input()) {
    statement = InputBytes(session, member.id, message.input());
    both.set_signature(message.input().signature());
  } else if (message.has_survivors()) {
    statement = U3Bytes(session, u2, u3);
    both.set_signature(message.survivors().signature());
  } else {
    statement = UnmaskBytes(session, member.id, message.unmask());
    both.set_signature(message.unmask().signature());
  }
  const bool valid = member.identity->Verify(statement, both.signature());
  if (message.has_unmask()) {
    both.set_statement(Sha256Bytes(statement));
    WipeString(statement);
  } else {
    both.set_statement(std::move(statement));
  }
  both.set_signer(member.identity->raw());
  if (!valid) return AbortError(v1::BAD_SIGNATURE, "a member's message");
  return both;
}

}  // namespace edgetune::secagg
