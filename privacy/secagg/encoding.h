#ifndef EDGETUNE_PRIVACY_SECAGG_ENCODING_H_
#define EDGETUNE_PRIVACY_SECAGG_ENCODING_H_

// The canonical encoding of secure aggregation v1: what is signed, hashed and
// bound into keys. Pure functions, thread-safe. They take fields as they are:
// whoever checks a signature has checked lengths and indices before (LENGTH),
// because items of a list are not told apart by themselves.
//
//   lp(x) = u32 length ‖ x          integers big-endian
//   bytes(use, f1, ...) = lp("edgetune/secagg/1/" ‖ use) ‖ lp(f1) ‖ ...
//   list = u32 count ‖ items, as one field
//   H = SHA-256(bytes(...)), signatures are Ed25519 over bytes(...)
//   KDF(key, use, f...) = HKDF-SHA256(key, salt = S, info = bytes(use, f...))
//
//   use       fields
//   manifest  payload of the round manifest                       H: M
//   canary    M                         H: kappa = its first 2 bytes as u16
//   adv       M, id, c_pk, s_pk, nonce 16                         signature
//   cohort    M, n u32, list(id ‖ c_pk ‖ s_pk)                    H: S
//   bcom      S, id, b_u 32                                       H: com_u
//   enc       id_u, id_v                    KDF of X25519(c_sk_u, c_pk_v)
//   share     S, id_u, id_v, x_v u16, com_u                       AAD
//   self      id_u                          KDF of b_u
//   pair      min id, max id                KDF of X25519(s_sk_u, s_pk_v)
//   shares    S, id, com_u, SHA-256(ciphertexts joined)           signature
//   u2        S, U2                                   coordinator's signature
//   ack       S, id, list(index u16)                              signature
//   input     S, id, total_length u64, SHA-256(y)                 signature
//   freeze    S, U2, U3                               coordinator's signature
//   u3        S, U2, U3                                           signature
//   unmask    S, id, list(index u16 ‖ b share 32), list(index u16 ‖ s share 32)
//                                                                 signature
//
// Ids are 16 bytes, x_v = 1 + index, U2 and U3 bitmaps of ceil(n/8) bytes.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/roster.h"
#include "protos/edgetune/v1/secagg.pb.h"

namespace edgetune::secagg {

// Appends fields to bytes(use, ...). One thread.
class Encoder {
 public:
  explicit Encoder(std::string_view use);
  Encoder& Add(std::string_view field);
  Encoder& Add(std::span<const uint8_t> field);
  Encoder& AddU16(uint16_t value);
  Encoder& AddU32(uint32_t value);
  Encoder& AddU64(uint64_t value);
  const std::string& bytes() const { return bytes_; }
  Digest Hash() const { return Sha256(bytes_); }

 private:
  std::string bytes_;
};

// M of a manifest's payload.
Digest ManifestDigest(std::string_view payload);
// kappa of the second canary lane.
uint16_t CanaryOf(const Digest& manifest);

// One member as everybody sees it. Raw public keys of 32 bytes.
struct MemberKeys {
  ClientId id = {};
  std::string c_pk;
  std::string s_pk;
};
// S; members ascending by id.
Digest SessionId(const Digest& manifest, std::span<const MemberKeys> members);

// What each signature is over.
std::string AdvertiseBytes(const Digest& manifest, const ClientId& id,
                           const v1::AdvertiseKeys& keys);
std::string ShareKeysBytes(const Digest& session, const ClientId& id,
                           const v1::ShareKeys& message);
std::string U2Bytes(const Digest& session, std::string_view u2);
std::string AckBytes(const Digest& session, const ClientId& id,
                     std::span<const uint32_t> bad);
std::string InputBytes(const Digest& session, const ClientId& id,
                       const v1::MaskedInput& message);
std::string FreezeBytes(const Digest& session, std::string_view u2,
                        std::string_view u3);
std::string U3Bytes(const Digest& session, std::string_view u2,
                    std::string_view u3);
// Holds shares: wipe it.
std::string UnmaskBytes(const Digest& session, const ClientId& id,
                        const v1::UnmaskShares& message);

// Sets of members as bitmaps. InvalidArgument: another length, padding bits
// set.
std::string BitmapOf(const std::vector<bool>& members);
absl::StatusOr<std::vector<bool>> MembersOf(std::string_view bitmap, size_t n);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_ENCODING_H_
