#ifndef EDGETUNE_PRIVACY_CRYPTO_KEY_STREAM_H_
#define EDGETUNE_PRIVACY_CRYPTO_KEY_STREAM_H_

// The AES-256-CTR key stream under a zero IV; for the sources of this room only
// (SeededRandom, MaskStream).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_util.h"

namespace edgetune {

// One key schedule, which OpenSSL wipes when it goes. Move-only; one thread at
// a time. Every error but Make's is Internal.
class KeyStream {
 public:
  static constexpr size_t kKeyBytes = 32;
  static constexpr size_t kBlockBytes = 16;

  // InvalidArgument names `what`: not 32 bytes.
  static absl::StatusOr<KeyStream> Make(std::span<const uint8_t> key,
                                        std::string_view what);

  // Next begins at byte 16 * block.
  absl::Status Seek(uint64_t block);
  // The next bytes of the stream.
  absl::Status Next(std::span<uint8_t> out);

 private:
  explicit KeyStream(CipherContextPtr context) : context_(std::move(context)) {}
  CipherContextPtr context_;
};

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_CRYPTO_KEY_STREAM_H_
