#include "privacy/crypto/key_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace edgetune {
namespace {

// What is encrypted to see the key stream itself. Short, so that it shares the
// first-level cache with the caller's tile.
constexpr std::array<uint8_t, 8192> kZeros{};
constexpr std::array<uint8_t, KeyStream::kBlockBytes> kZeroIv{};

}  // namespace

absl::StatusOr<KeyStream> KeyStream::Make(std::span<const uint8_t> key,
                                          std::string_view what) {
  if (key.size() != kKeyBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{} has the wrong length: got {} bytes, wanted {}", what,
                    key.size(), kKeyBytes));
  }
  CipherContextPtr context(EVP_CIPHER_CTX_new());
  if (context == nullptr ||
      EVP_EncryptInit_ex2(context.get(), EVP_aes_256_ctr(), key.data(),
                          kZeroIv.data(), nullptr) != 1) {
    return OpensslError("cannot begin a key stream");
  }
  return KeyStream(std::move(context));
}

absl::Status KeyStream::Seek(uint64_t block) {
  // The counter is the whole IV, big-endian.
  std::array<uint8_t, kBlockBytes> counter{};
  for (size_t i = 0; i < sizeof(block); ++i) {
    counter[kBlockBytes - 1 - i] = static_cast<uint8_t>(block >> (8 * i));
  }
  if (EVP_EncryptInit_ex2(context_.get(), nullptr, nullptr, counter.data(),
                          nullptr) != 1) {
    return OpensslError("cannot seek in a key stream");
  }
  return absl::OkStatus();
}

absl::Status KeyStream::Next(std::span<uint8_t> out) {
  while (!out.empty()) {
    const size_t size = std::min(out.size(), kZeros.size());
    int written = 0;
    if (EVP_EncryptUpdate(context_.get(), out.data(), &written, kZeros.data(),
                          static_cast<int>(size)) != 1 ||
        written != static_cast<int>(size)) {
      return OpensslError("cannot go on with a key stream");
    }
    out = out.subspan(size);
  }
  return absl::OkStatus();
}

}  // namespace edgetune
