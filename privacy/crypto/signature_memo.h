#ifndef EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_MEMO_H_
#define EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_MEMO_H_

#include "privacy/crypto/hash.h"

namespace edgetune {

// While one lives, a signature that was found valid in this process is not
// computed again for the same key and message: PublicKey::Verify remembers the
// SHA-256 of all three. For programs in which many parties stand in one process
// (simulations, tests), where each of n members verifies the signatures of all
// the others: n computations in place of n². A single party has no use for it.
// What is not valid is computed each time. It holds 2^16 signatures (6 MB) and
// begins anew beyond that.
//
// Several may live at once and share what is known. Thread-safe.
class SignatureMemo {
 public:
  SignatureMemo();
  ~SignatureMemo();
  SignatureMemo(const SignatureMemo&) = delete;
  SignatureMemo& operator=(const SignatureMemo&) = delete;

  // For PublicKey::Verify: does one live, is this known, this is valid.
  static bool Lives();
  static bool Knows(const Digest& triple);
  static void Remember(const Digest& triple);
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_SIGNATURE_MEMO_H_
