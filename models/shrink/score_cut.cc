#include "models/shrink/score_cut.h"

#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr uint32_t kHalfBits = 16;

// The first bin at whose end more than `rank` were counted, and what was
// counted before it.
struct BinOfRank {
  uint32_t bin = 0;
  uint64_t before = 0;
};

BinOfRank FindBin(const std::vector<uint64_t>& counts, uint64_t rank) {
  BinOfRank out;
  while (out.before + counts[out.bin] <= rank) {
    out.before += counts[out.bin++];
  }
  return out;
}

}  // namespace

absl::StatusOr<ScoreCut> CutBelow(uint64_t count, const ScoreScan& scan) {
  if (count == 0) return ScoreCut{};
  // The last that lies below has this rank.
  uint64_t rank = count - 1;
  std::vector<uint64_t> counts(size_t{1} << kHalfBits);
  EDGETUNE_RETURN_IF_ERROR(scan([&](std::span<const uint32_t> scores) {
    for (const uint32_t score : scores) ++counts[score >> kHalfBits];
  }));
  const BinOfRank upper = FindBin(counts, rank);
  rank -= upper.before;
  counts.assign(counts.size(), 0);
  EDGETUNE_RETURN_IF_ERROR(scan([&](std::span<const uint32_t> scores) {
    for (const uint32_t score : scores) {
      if (score >> kHalfBits == upper.bin) ++counts[score & 0xFFFF];
    }
  }));
  const BinOfRank lower = FindBin(counts, rank);
  ScoreCut cut{upper.bin << kHalfBits | lower.bin, 0};
  uint64_t ties = rank - lower.before + 1, place = 0;
  EDGETUNE_RETURN_IF_ERROR(scan([&](std::span<const uint32_t> scores) {
    for (const uint32_t score : scores) {
      ++place;
      if (score == cut.bits && ties > 0 && --ties == 0) cut.ties = place;
    }
  }));
  return cut;
}

}  // namespace edgetune
