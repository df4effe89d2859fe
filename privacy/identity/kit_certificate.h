#ifndef EDGETUNE_PRIVACY_IDENTITY_KIT_CERTIFICATE_H_
#define EDGETUNE_PRIVACY_IDENTITY_KIT_CERTIFICATE_H_

// The TLS certificate of a kit whose key is made here; for the sources of this
// room.

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/kit_description.h"

namespace edgetune {

// Devices with a slow clock accept certificates at once.
inline constexpr absl::Duration kClockSkew = absl::Minutes(5);

// A new key and its certificate, of the role and for the addresses that `kit`
// states, written to `directory`: both or neither.
absl::Status WriteNewTls(const CertificateAndKey& ca, const KitDescription& kit,
                         absl::Time now, absl::Duration life,
                         const std::string& directory);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_KIT_CERTIFICATE_H_
