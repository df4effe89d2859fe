#ifndef EDGETUNE_TESTS_PRIVACY_CRYPTO_GIVEN_H_
#define EDGETUNE_TESTS_PRIVACY_CRYPTO_GIVEN_H_

// What several tests of this room are given.

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/units.h"

namespace edgetune::testing {

// When certificates are issued.
inline const absl::Time kNow = absl::FromUnixSeconds(1800000000);

// The bytes of published vectors.
inline std::string Hex(std::string_view hex) { return FromHex(hex).value(); }

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_PRIVACY_CRYPTO_GIVEN_H_
