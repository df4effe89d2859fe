#include "models/shrink/sparsity.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr int64_t kLargestGroup = 256;

absl::Status SparsityError(const std::string& what, std::string_view hint) {
  return Annotate(absl::InvalidArgumentError(what), ErrorKind::kUsage, hint);
}

uint64_t BytesOfBits(uint64_t bits) { return (bits + 7) / 8; }

}  // namespace

absl::Status CheckSparsity(const Sparsity& sparsity) {
  if (sparsity.share.has_value() == sparsity.pattern.has_value()) {
    return SparsityError("either a share of weights becomes zero or N of M",
                         "say one of them");
  }
  if (sparsity.share.has_value()) {
    if (*sparsity.share > 0 && *sparsity.share < 1) return absl::OkStatus();
    return SparsityError(
        fmt::format("cannot make {} of the weights zero", *sparsity.share),
        "take a number between 0 and 1, such as 0.5");
  }
  const auto [kept, of] = *sparsity.pattern;
  if (kept > 0 && kept < of && of <= kLargestGroup) return absl::OkStatus();
  return SparsityError(
      fmt::format("cannot keep {} of every {} weights", kept, of),
      fmt::format("take N below M, and M up to {}, such as 2:4",
                  kLargestGroup));
}

absl::StatusOr<NOfM> ParseNOfM(std::string_view text) {
  NOfM out;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, out.kept);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto second = std::from_chars(first.ptr + 1, end, out.of);
    if (second.ec == std::errc() && second.ptr == end) return out;
  }
  return SparsityError(fmt::format("'{}' is not N:M", text),
                       "write how many stay of how many: 2:4");
}

uint64_t ZeroedBy(double share, uint64_t values) {
  return static_cast<uint64_t>(std::floor(share * static_cast<double>(values)));
}

uint64_t PatternBytes(uint64_t values, const NOfM& pattern,
                      uint64_t value_bits) {
  const auto of = static_cast<uint64_t>(pattern.of);
  const uint64_t kept = values / of * static_cast<uint64_t>(pattern.kept);
  const auto place_bits = static_cast<uint64_t>(std::bit_width(of - 1));
  return BytesOfBits(kept * value_bits) + BytesOfBits(kept * place_bits);
}

uint64_t BitmapBytes(uint64_t values, uint64_t kept, uint64_t value_bits) {
  return BytesOfBits(values) + BytesOfBits(kept * value_bits);
}

}  // namespace edgetune
