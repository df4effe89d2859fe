#ifndef EDGETUNE_TOOLS_SIMULATION_SWEEP_H_
#define EDGETUNE_TOOLS_SIMULATION_SWEEP_H_

// Which runs `--sweep key=v1,v2` asks for, and what they came to. Stateless.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

inline constexpr size_t kMaxSweepRuns = 1000;

struct SweepKey {
  std::string key;                  // "train.lr"
  std::vector<std::string> values;  // as written, at least one, all different
};

// One of each `flags` ("train.lr=1e-3,1e-2"). InvalidArgument (kUsage): no key,
// an empty value, a value or key twice, more than kMaxSweepRuns combinations.
absl::StatusOr<std::vector<SweepKey>> ParseSweeps(
    const std::vector<std::string>& flags);

// One combination.
struct SweepPoint {
  std::vector<std::string> values;  // one for each key
  // "lr_1e-3-seed_2": safe in paths, different for each. A key is called by
  // what follows its last dot, unless two of the sweep are alike there.
  std::string name;
};
// The cross product; the last key changes fastest.
std::vector<SweepPoint> PointsOf(const std::vector<SweepKey>& keys);

// Final perplexities of runs that differ by their seeds alone.
struct SeedSpread {
  std::string name;  // of their point without the seed; may be empty
  size_t runs = 0;   // with a perplexity
  std::optional<double> mean;
  // sqrt(sum (x - mean)^2 / (runs - 1)), of a sample; nullopt of one run.
  std::optional<double> deviation;
};
inline constexpr char kSeedKey[] = "train.seed";
// One for each combination of the other keys, in order; none where kSeedKey is
// not swept. `perplexities`: of each point, nullopt where none was measured.
std::vector<SeedSpread> SpreadOverSeeds(
    const std::vector<SweepKey>& keys,
    const std::vector<std::optional<double>>& perplexities);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SWEEP_H_
