#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_RANDOM_SOURCES_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_RANDOM_SOURCES_H_

#include <cstdint>
#include <span>

#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"

namespace edgetune::secagg {

// The same bytes in every run.
inline SeededRandom Seeded(uint32_t number) {
  SecretBytes seed(32);
  for (size_t i = 0; i < 4; ++i) {
    seed.bytes()[i] = static_cast<uint8_t>(number >> (8 * i));
  }
  return SeededRandom::Make(seed.bytes()).value();
}

inline uint32_t NextWord(RandomSource& random) {
  uint8_t bytes[4];
  if (!random.Fill(bytes).ok()) return 0;
  return static_cast<uint32_t>(bytes[0] | bytes[1] << 8 | bytes[2] << 16) |
         static_cast<uint32_t>(bytes[3]) << 24;
}

// Works `calls` times.
class FailingRandom final : public RandomSource {
 public:
  explicit FailingRandom(int calls) : calls_(calls) {}
  absl::Status Fill(std::span<uint8_t> out) override {
    if (calls_-- <= 0) return absl::InternalError("no randomness");
    for (uint8_t& byte : out) byte = 7;
    return absl::OkStatus();
  }

 private:
  int calls_;
};

// Bytes that the test chose, then zeros.
class ScriptedRandom final : public RandomSource {
 public:
  explicit ScriptedRandom(std::span<const uint8_t> script) : script_(script) {}
  absl::Status Fill(std::span<uint8_t> out) override {
    for (uint8_t& byte : out) {
      byte = script_.empty() ? 0 : script_.front();
      if (!script_.empty()) script_ = script_.subspan(1);
    }
    return absl::OkStatus();
  }

 private:
  std::span<const uint8_t> script_;
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_RANDOM_SOURCES_H_
