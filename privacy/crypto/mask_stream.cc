#include "privacy/crypto/mask_stream.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/status.h"
#include "privacy/crypto/key_stream.h"

namespace edgetune {
namespace {

static_assert(std::endian::native == std::endian::little,
              "words of the stream are read as they lie in memory");

constexpr size_t kTileWords = 2048;  // 8 KiB
constexpr uint64_t kBlockWords = KeyStream::kBlockBytes / sizeof(uint32_t);

// A piece of key stream, wiped when it goes.
class Tile {
 public:
  Tile() = default;
  ~Tile() { OPENSSL_cleanse(words_.data(), used_ * sizeof(uint32_t)); }
  Tile(const Tile&) = delete;
  Tile& operator=(const Tile&) = delete;

  absl::StatusOr<const uint32_t*> Fill(KeyStream& stream, size_t words) {
    used_ = std::max(used_, words);
    EDGETUNE_RETURN_IF_ERROR(stream.Next(
        {reinterpret_cast<uint8_t*>(words_.data()), words * sizeof(uint32_t)}));
    return words_.data();
  }

 private:
  size_t used_ = 0;
  // Not zeroed: whatever is read was written before.
  alignas(64) std::array<uint32_t, kTileWords> words_;
};

// The compiler makes the loops twice, and the loader picks: with 32-byte
// vectors they cost half, which is a twentieth of the whole.
#if defined(__x86_64__)
#define EDGETUNE_WITH_AVX2 [[gnu::target_clones("avx2", "default")]]
#else
#define EDGETUNE_WITH_AVX2
#endif

// Words before the first vector of sums that lies in one cache line: a store
// across two is dear, a load of masks is not.
size_t Head(const uint32_t* sums, size_t n) {
  constexpr size_t kVectorWords = 8;
  const size_t past =
      reinterpret_cast<uintptr_t>(sums) / sizeof(uint32_t) % kVectorWords;
  return std::min(n, (kVectorWords - past) % kVectorWords);
}

EDGETUNE_WITH_AVX2 void AddWords(const uint32_t* masks, size_t n,
                                 uint32_t* sums) {
  const size_t head = Head(sums, n);
  for (size_t i = 0; i < head; ++i) sums[i] += masks[i];
  for (size_t i = head; i < n; ++i) sums[i] += masks[i];
}

EDGETUNE_WITH_AVX2 void SubtractWords(const uint32_t* masks, size_t n,
                                      uint32_t* sums) {
  const size_t head = Head(sums, n);
  for (size_t i = 0; i < head; ++i) sums[i] -= masks[i];
  for (size_t i = head; i < n; ++i) sums[i] -= masks[i];
}

// Calls combine(masks, n, sums) until every word of the accumulator had its.
template <typename Combine>
absl::Status Walk(KeyStream& stream, uint64_t first_word,
                  std::span<uint32_t> accumulator, const Combine& combine) {
  EDGETUNE_RETURN_IF_ERROR(stream.Seek(first_word / kBlockWords));
  // Words of the first block that lie before the asked one.
  size_t skip = first_word % kBlockWords;
  Tile tile;
  while (!accumulator.empty()) {
    const size_t n = std::min(accumulator.size(), kTileWords - skip);
    EDGETUNE_ASSIGN_OR_RETURN(const uint32_t* masks,
                              tile.Fill(stream, skip + n));
    combine(masks + skip, n, accumulator.data());
    accumulator = accumulator.subspan(n);
    skip = 0;
  }
  return absl::OkStatus();
}

}  // namespace

struct MaskStream::State {
  KeyStream stream;
};

MaskStream::MaskStream(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
MaskStream::~MaskStream() = default;
MaskStream::MaskStream(MaskStream&&) noexcept = default;
MaskStream& MaskStream::operator=(MaskStream&&) noexcept = default;

absl::StatusOr<MaskStream> MaskStream::Make(const SecretBytes& key) {
  EDGETUNE_ASSIGN_OR_RETURN(KeyStream stream,
                            KeyStream::Make(key.bytes(), "a mask's key"));
  return MaskStream(std::make_unique<State>(State{std::move(stream)}));
}

absl::Status MaskStream::Add(uint64_t first_word,
                             std::span<uint32_t> accumulator) {
  return Walk(state_->stream, first_word, accumulator, AddWords);
}

absl::Status MaskStream::Subtract(uint64_t first_word,
                                  std::span<uint32_t> accumulator) {
  return Walk(state_->stream, first_word, accumulator, SubtractWords);
}

}  // namespace edgetune
