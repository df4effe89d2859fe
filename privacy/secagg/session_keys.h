#ifndef EDGETUNE_PRIVACY_SECAGG_SESSION_KEYS_H_
#define EDGETUNE_PRIVACY_SECAGG_SESSION_KEYS_H_

// Keys of one masking session and the sealing of shares, by the table of
// privacy/secagg/encoding.h. Pure functions, thread-safe. Internal: OpenSSL
// failed.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/identity/roster.h"

namespace edgetune::secagg {

// com_u = H(bcom, S, id, b).
Digest CommitmentOf(const Digest& session, const ClientId& id,
                    const SecretBytes& b);
// k_self.
absl::StatusOr<SecretBytes> SelfMaskKey(const Digest& session,
                                        const ClientId& id,
                                        const SecretBytes& b);
// k_uv; the order of the two ids does not matter. `agreed` is the X25519 result
// of their mask keys.
absl::StatusOr<SecretBytes> PairMaskKey(const Digest& session,
                                        const SecretBytes& agreed,
                                        const ClientId& one,
                                        const ClientId& other);

// Where a sealed pair of shares goes; all of it is authenticated.
struct ShareRoute {
  Digest session = {};
  ClientId from = {};
  ClientId to = {};
  uint32_t to_index = 0;
  std::string_view commitment;  // com of `from`
};
// The key that seals from `from` to `to`, for this one message. `agreed` is the
// X25519 result of their encryption keys.
absl::StatusOr<SecretBytes> SealKey(const ShareRoute& route,
                                    const SecretBytes& agreed);

// The shares of one dealer that one holder has, 32 bytes each.
struct SharePair {
  SecretBytes s;  // of its mask key
  SecretBytes b;  // of the seed of its own mask
};
// nonce 12 ‖ ciphertext ‖ tag 16: 92 bytes.
absl::StatusOr<std::string> SealShares(const SecretBytes& key,
                                       const ShareRoute& route,
                                       const SharePair& shares,
                                       RandomSource& random);
// PermissionDenied: not sealed under this key for this route.
absl::StatusOr<SharePair> OpenShares(const SecretBytes& key,
                                     const ShareRoute& route,
                                     std::string_view sealed);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_PRIVACY_SECAGG_SESSION_KEYS_H_
