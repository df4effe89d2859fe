#ifndef EDGETUNE_PRIVACY_CRYPTO_MASK_STREAM_H_
#define EDGETUNE_PRIVACY_CRYPTO_MASK_STREAM_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret.h"

namespace edgetune {

// The mask that a 32-byte key stands for: word i is the little-endian 32-bit
// value of bytes [4i, 4i + 4) of the AES-256-CTR key stream under a zero IV
// (NIST SP 800-38A; edgetune secure aggregation v1). A key must serve one mask
// and nothing else, because the IV never changes.
//
// Words are added straight into the caller's sums, a tile at a time, so a mask
// never exists whole; tile and key schedule are wiped. Sums are modulo 2^32:
// who uses fewer bits keeps the low ones. Move-only; one thread at a time. To
// add many masks, take 2^16 words of every stream before going on: then the
// sums stay in the cache; much shorter calls feel the price of a call.
class MaskStream {
 public:
  // InvalidArgument: not 32 bytes.
  static absl::StatusOr<MaskStream> Make(const SecretBytes& key);
  ~MaskStream();
  MaskStream(MaskStream&&) noexcept;
  MaskStream& operator=(MaskStream&&) noexcept;

  // accumulator[j] += word(first_word + j), for every j; in any order of
  // first_word, at the same cost. Internal when OpenSSL fails: the accumulator
  // must not be used then.
  absl::Status Add(uint64_t first_word, std::span<uint32_t> accumulator);
  // The same with -=.
  absl::Status Subtract(uint64_t first_word, std::span<uint32_t> accumulator);

 private:
  struct State;
  explicit MaskStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_MASK_STREAM_H_
