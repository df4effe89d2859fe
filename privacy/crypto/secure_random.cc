#include "privacy/crypto/secure_random.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <utility>

#include "base/status.h"
#include "privacy/crypto/key_stream.h"

namespace edgetune {

absl::Status SystemRandom::Fill(std::span<uint8_t> out) {
  // 0: at the generator's own strength, 256 bits.
  if (RAND_priv_bytes_ex(nullptr, out.data(), out.size(), 0) != 1) {
    return OpensslError(fmt::format("cannot draw {} random bytes", out.size()));
  }
  return absl::OkStatus();
}

struct SeededRandom::State {
  KeyStream stream;
};

SeededRandom::SeededRandom(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
SeededRandom::~SeededRandom() = default;
SeededRandom::SeededRandom(SeededRandom&&) noexcept = default;
SeededRandom& SeededRandom::operator=(SeededRandom&&) noexcept = default;

absl::StatusOr<SeededRandom> SeededRandom::Make(std::span<const uint8_t> seed) {
  EDGETUNE_ASSIGN_OR_RETURN(KeyStream stream,
                            KeyStream::Make(seed, "a random seed"));
  return SeededRandom(std::make_unique<State>(State{std::move(stream)}));
}

absl::Status SeededRandom::Fill(std::span<uint8_t> out) {
  return state_->stream.Next(out);
}

absl::StatusOr<SecretBytes> RandomSecret(RandomSource& random, size_t n) {
  SecretBytes secret(n);
  EDGETUNE_RETURN_IF_ERROR(random.Fill(secret.bytes()));
  return secret;
}

absl::StatusOr<std::string> SecureRandom(size_t n) {
  std::string bytes(n, '\0');
  EDGETUNE_RETURN_IF_ERROR(SystemRandom().Fill(
      {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

}  // namespace edgetune
