#ifndef EDGETUNE_BASE_UNITS_H_
#define EDGETUNE_BASE_UNITS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace edgetune {

std::string FormatBytes(uint64_t bytes);    // "98.4 MB" (decimal units)
std::string FormatSeconds(double seconds);  // "0.8 s", "2 min 05 s"
// "450MB", "1.5 GB", "512MiB", "4096B": B, KB (or kB), MB, GB, TB of 1000, KiB,
// MiB, GiB, TiB of 1024; nullopt: no number, another unit, below 0 or 2^63.
std::optional<uint64_t> ParseBytes(std::string_view text);
// The same number exactly, in the largest unit that makes it whole: "450MB".
std::string ExactBytes(uint64_t bytes);
std::string ToHex(std::span<const uint8_t> bytes);
std::string ToHex(std::string_view bytes);
// Lower- or upper-case; nullopt on an odd length or another character.
std::optional<std::string> FromHex(std::string_view hex);

// The candidate nearest to `word` by edit distance, for "did you mean"; ""
// when none is within a third of its length.
std::string ClosestWord(std::string_view word,
                        std::span<const std::string> candidates);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_UNITS_H_
