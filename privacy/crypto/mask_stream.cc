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
constexpr size_t kVectorWords = 8;
constexpr uint64_t kBlockWords = KeyStream::kBlockBytes / sizeof(uint32_t);

// Where a word lies within the 32 bytes of a vector.
size_t PlaceInVector(const uint32_t* word) {
  return reinterpret_cast<uintptr_t>(word) / sizeof(uint32_t) % kVectorWords;
}

// A piece of key stream, wiped when it goes. It begins at the given place
// within a vector, so that masks and sums may lie alike.
class Tile {
 public:
  explicit Tile(size_t place) : place_(place) {}
  ~Tile() { OPENSSL_cleanse(words_.data(), used_ * sizeof(uint32_t)); }
  Tile(const Tile&) = delete;
  Tile& operator=(const Tile&) = delete;

  absl::StatusOr<std::span<const uint32_t>> Fill(KeyStream& stream, size_t n) {
    const std::span<uint32_t> words = std::span(words_).subspan(place_, n);
    used_ = std::max(used_, place_ + n);
    EDGETUNE_RETURN_IF_ERROR(stream.Next(
        {reinterpret_cast<uint8_t*>(words.data()), words.size_bytes()}));
    return std::span<const uint32_t>(words);
  }

 private:
  const size_t place_;
  size_t used_ = 0;
  // Not zeroed: whatever is read was written before.
  alignas(64) std::array<uint32_t, kVectorWords + kTileWords> words_;
};

enum class Sign { kAdd, kSubtract };

struct Piece {
  Sign sign;
  std::span<const uint32_t> masks;
  uint32_t* sums;  // as many
};

// Two loops each: in the second one no vector lies across two cache lines.
[[gnu::always_inline]] inline void CombineWords(const Piece& piece) {
  const uint32_t* const masks = piece.masks.data();
  const size_t n = piece.masks.size();
  uint32_t* const sums = piece.sums;
  const size_t head =
      std::min(n, (kVectorWords - PlaceInVector(sums)) % kVectorWords);
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
  Tile tile((PlaceInVector(accumulator.data()) + kVectorWords - skip) %
            kVectorWords);
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
