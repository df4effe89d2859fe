#ifndef EDGETUNE_TESTS_PRIVACY_CRYPTO_FAILING_RANDOM_H_
#define EDGETUNE_TESTS_PRIVACY_CRYPTO_FAILING_RANDOM_H_

#include "privacy/crypto/secure_random.h"

namespace edgetune {

// A random source that gives nothing (A28).
class FailingRandom final : public RandomSource {
 public:
  absl::Status Fill(std::span<uint8_t>) override {
    return absl::InternalError("no random bytes today");
  }
};

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_PRIVACY_CRYPTO_FAILING_RANDOM_H_
