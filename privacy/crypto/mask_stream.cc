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

  absl::StatusOr<std::span<const uint32_t>> Fill(KeyStream& stream,
                                                 size_t words) {
    used_ = std::max(used_, words);
    EDGETUNE_RETURN_IF_ERROR(stream.Next(
        {reinterpret_cast<uint8_t*>(words_.data()), words * sizeof(uint32_t)}));
    return std::span<const uint32_t>(words_).first(words);
  }

 private:
  size_t used_ = 0;
  // Not zeroed: whatever is read was written before.
  alignas(64) std::array<uint32_t, kTileWords> words_;
};

enum class Sign { kAdd, kSubtract };

struct Piece {
  Sign sign;
  std::span<const uint32_t> masks;
  uint32_t* sums;  // as many
};

// Words before the first vector of sums that lies in one cache line: a store
// across two is dear, a load of masks is not.
[[gnu::always_inline]] inline size_t Head(const Piece& piece) {
  constexpr size_t kVectorWords = 8;
  const size_t past =
      reinterpret_cast<uintptr_t>(piece.sums) / sizeof(uint32_t);
  return std::min(piece.masks.size(), -past % kVectorWords);
}

// Two loops each, so that the second one begins aligned.
[[gnu::always_inline]] inline void CombineWords(const Piece& piece) {
  const uint32_t* const masks = piece.masks.data();
  const size_t n = piece.masks.size();
  const size_t head = Head(piece);
  uint32_t* const sums = piece.sums;
  if (piece.sign == Sign::kAdd) {
    for (size_t i = 0; i < head; ++i) sums[i] += masks[i];
    for (size_t i = head; i < n; ++i) sums[i] += masks[i];
  } else {
    for (size_t i = 0; i < head; ++i) sums[i] -= masks[i];
    for (size_t i = head; i < n; ++i) sums[i] -= masks[i];
  }
}

#if defined(__x86_64__)
// With vectors of 32 bytes the sums cost half, a twentieth of the whole. Asked
// at run time, not by target_clones: its resolver runs before ThreadSanitizer
// is ready, and crashes.
[[gnu::target("avx2")]] void CombineAvx2(const Piece& piece) {
  CombineWords(piece);
}
#endif

void CombinePiece(const Piece& piece) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return CombineAvx2(piece);
#endif
  CombineWords(piece);
}

}  // namespace

struct MaskStream::State {
  absl::Status Combine(Sign sign, uint64_t first_word,
                       std::span<uint32_t> accumulator);
  KeyStream stream;
};

// Works through the accumulator a tile at a time.
absl::Status MaskStream::State::Combine(Sign sign, uint64_t first_word,
                                        std::span<uint32_t> accumulator) {
  EDGETUNE_RETURN_IF_ERROR(stream.Seek(first_word / kBlockWords));
  // Words of the first block that lie before the asked one.
  size_t skip = first_word % kBlockWords;
  Tile tile;
  while (!accumulator.empty()) {
    const size_t n = std::min(accumulator.size(), kTileWords - skip);
    EDGETUNE_ASSIGN_OR_RETURN(const std::span<const uint32_t> words,
                              tile.Fill(stream, skip + n));
    CombinePiece({sign, words.subspan(skip), accumulator.data()});
    accumulator = accumulator.subspan(n);
    skip = 0;
  }
  return absl::OkStatus();
}

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
  return state_->Combine(Sign::kAdd, first_word, accumulator);
}

absl::Status MaskStream::Subtract(uint64_t first_word,
                                  std::span<uint32_t> accumulator) {
  return state_->Combine(Sign::kSubtract, first_word, accumulator);
}

}  // namespace edgetune
