#ifndef EDGETUNE_PRIVACY_CRYPTO_SIGNING_REQUEST_H_
#define EDGETUNE_PRIVACY_CRYPTO_SIGNING_REQUEST_H_

// Keys of certificates and requests for them; for the sources of this room.

#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_util.h"

namespace edgetune {

absl::StatusOr<PkeyPtr> NewP256Key();

// The public key of a PKCS #10 request (RFC 2986, DER) from outside: on the
// named curve P-256, and the request signed with it. InvalidArgument.
absl::StatusOr<PkeyPtr> KeyOfSigningRequest(std::string_view der);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_SIGNING_REQUEST_H_
