#include "privacy/secagg/session_keys.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/status.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/kdf.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/member.h"

namespace edgetune::secagg {
namespace {

absl::StatusOr<SecretBytes> Derive(const Digest& session,
                                   const SecretBytes& key,
                                   const Encoder& info) {
  return HkdfSha256({key.bytes(), session, ByteSpan(info.bytes())}, kKeyBytes);
}

std::string AadOf(const ShareRoute& route) {
  Encoder aad("share");
  aad.Add(route.session).Add(route.from).Add(route.to);
  aad.AddU16(static_cast<uint16_t>(route.to_index + 1));
  return aad.Add(route.commitment).bytes();
}

}  // namespace

Digest CommitmentOf(const Digest& session, const ClientId& id,
                    const SecretBytes& b) {
  // The seed goes straight into the hash: an encoder would keep a copy.
  Encoder public_part("bcom");
  public_part.Add(session).Add(id);
  constexpr std::array<uint8_t, 4> kLength = {0, 0, 0, kShareBytes};
  Sha256Stream hash;
  hash.Update(ByteSpan(public_part.bytes()));
  hash.Update(kLength);
  hash.Update(b.bytes());
  return hash.Finish();
}

absl::StatusOr<SecretBytes> SelfMaskKey(const Digest& session,
                                        const ClientId& id,
                                        const SecretBytes& b) {
  return Derive(session, b, Encoder("self").Add(id));
}

absl::StatusOr<SecretBytes> PairMaskKey(const Digest& session,
                                        const SecretBytes& agreed,
                                        const ClientId& one,
                                        const ClientId& other) {
  return Derive(
      session, agreed,
      Encoder("pair").Add(std::min(one, other)).Add(std::max(one, other)));
}

absl::StatusOr<SecretBytes> SealKey(const ShareRoute& route,
                                    const SecretBytes& agreed) {
  return Derive(route.session, agreed,
                Encoder("enc").Add(route.from).Add(route.to));
}

absl::StatusOr<std::string> SealShares(const SecretBytes& key,
                                       const ShareRoute& route,
                                       const SharePair& shares,
                                       RandomSource& random) {
  std::array<uint8_t, kAesGcmNonceBytes> nonce;
  EDGETUNE_RETURN_IF_ERROR(random.Fill(nonce));
  SecretBytes plain(2 * kShareBytes);
  std::ranges::copy(shares.s.bytes(), plain.bytes().begin());
  std::ranges::copy(shares.b.bytes(), plain.bytes().begin() + kShareBytes);
  const std::string aad = AadOf(route);
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::string sealed,
      SealAesGcm({key.bytes(), nonce, ByteSpan(aad)}, plain.bytes()));
  return std::string(nonce.begin(), nonce.end()) + sealed;
}

absl::StatusOr<SharePair> OpenShares(const SecretBytes& key,
                                     const ShareRoute& route,
                                     std::string_view sealed) {
  EDGETUNE_RETURN_IF_ERROR(CheckSize(sealed, kCiphertextBytes, "ciphertext"));
  const std::span<const uint8_t> bytes = ByteSpan(sealed);
  const std::string aad = AadOf(route);
  EDGETUNE_ASSIGN_OR_RETURN(
      const SecretBytes plain,
      OpenAesGcm({key.bytes(), bytes.first(kAesGcmNonceBytes), ByteSpan(aad)},
                 bytes.subspan(kAesGcmNonceBytes)));
  return SharePair{SecretBytes::Copy(plain.bytes().first(kShareBytes)),
                   SecretBytes::Copy(plain.bytes().subspan(kShareBytes))};
}

}  // namespace edgetune::secagg
