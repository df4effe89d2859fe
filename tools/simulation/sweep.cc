#include "tools/simulation/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "simulations/population/client_names.h"

namespace edgetune {
namespace {

absl::Status WrongSweep(const std::string& what) {
  return Annotate(absl::InvalidArgumentError(what), ErrorKind::kUsage,
                  "as in --sweep train.lr=1e-4,1e-3 --sweep train.seed=1,2,3");
}

absl::StatusOr<SweepKey> ParseSweep(const std::string& flag) {
  const size_t equals = flag.find('=');
  if (equals == flag.npos || equals == 0) {
    return WrongSweep(
        fmt::format("--sweep {}: wanted section.key=v1,v2", flag));
  }
  SweepKey sweep{flag.substr(0, equals),
                 absl::StrSplit(flag.substr(equals + 1), ',')};
  std::set<std::string> seen;
  for (const std::string& value : sweep.values) {
    if (value.empty()) {
      return WrongSweep(fmt::format("--sweep {}: a value is empty", flag));
    }
    if (!seen.insert(value).second) {
      return WrongSweep(
          fmt::format("--sweep {}: {} stands there twice", flag, value));
    }
  }
  return sweep;
}

absl::Status CheckCount(const std::vector<SweepKey>& keys) {
  size_t runs = 1;
  std::vector<size_t> counts;
  for (const SweepKey& key : keys) {
    counts.push_back(key.values.size());
    // What is too many already stays so, and must not overflow.
    runs = std::min(runs, kMaxSweepRuns + 1) * key.values.size();
  }
  if (runs <= kMaxSweepRuns) return absl::OkStatus();
  return WrongSweep(
      fmt::format("--sweep asks for {} combinations, at most {} runs",
                  fmt::join(counts, " x "), kMaxSweepRuns));
}

std::string_view LastPart(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

// What each key is called in names.
std::vector<std::string> ShortNames(const std::vector<SweepKey>& keys) {
  std::vector<std::string> names;
  for (const SweepKey& key : keys) {
    const auto alike = std::ranges::count_if(keys, [&](const SweepKey& other) {
      return LastPart(other.key) == LastPart(key.key);
    });
    names.emplace_back(alike > 1 ? key.key : LastPart(key.key));
  }
  return names;
}

}  // namespace

absl::StatusOr<std::vector<SweepKey>> ParseSweeps(
    const std::vector<std::string>& flags) {
  std::vector<SweepKey> keys;
  std::set<std::string> seen;
  for (const std::string& flag : flags) {
    EDGETUNE_ASSIGN_OR_RETURN(SweepKey key, ParseSweep(flag));
    if (!seen.insert(key.key).second) {
      return WrongSweep(fmt::format("--sweep {} is asked for twice", key.key));
    }
    keys.push_back(std::move(key));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckCount(keys));
  return keys;
}

std::vector<SweepPoint> PointsOf(const std::vector<SweepKey>& keys) {
  std::vector<SweepPoint> points(1);
  const std::vector<std::string> short_names = ShortNames(keys);
  for (size_t k = 0; k < keys.size(); ++k) {
    std::vector<SweepPoint> longer;
    for (const SweepPoint& point : points) {
      for (const std::string& value : keys[k].values) {
        SweepPoint next = point;
        next.name += fmt::format("{}{}_{}", next.name.empty() ? "" : "-",
                                 short_names[k], value);
        next.values.push_back(value);
        longer.push_back(std::move(next));
      }
    }
    points = std::move(longer);
  }
  if (keys.empty()) return points;
  std::vector<std::string_view> wanted;
  for (const SweepPoint& point : points) wanted.push_back(point.name);
  const std::vector<std::string> names = NamesOf(wanted);
  for (size_t i = 0; i < points.size(); ++i) points[i].name = names[i];
  return points;
}

std::vector<SeedSpread> SpreadOverSeeds(
    const std::vector<SweepKey>& keys,
    const std::vector<std::optional<double>>& perplexities) {
  const auto seed = std::ranges::find(keys, kSeedKey, &SweepKey::key);
  if (seed == keys.end()) return {};
  std::vector<SweepKey> others = keys;
  others.erase(others.begin() + (seed - keys.begin()));
  // How far apart two points are that differ in one step of the seed.
  size_t stride = 1;
  for (auto key = seed + 1; key != keys.end(); ++key) {
    stride *= key->values.size();
  }
  const size_t seeds = seed->values.size();
  std::vector<SeedSpread> spreads;
  for (const SweepPoint& point : PointsOf(others)) {
    const size_t at = spreads.size();
    const size_t first = at / stride * stride * seeds + at % stride;
    std::vector<double> known;
    for (size_t i = 0; i < seeds; ++i) {
      if (const auto& x = perplexities[first + i * stride]) known.push_back(*x);
    }
    spreads.push_back({point.name, known.size(), {}, {}});
    if (known.empty()) continue;
    const auto count = static_cast<double>(known.size());
    double sum = 0, squares = 0;
    for (const double x : known) sum += x;
    const double mean = sum / count;
    for (const double x : known) squares += (x - mean) * (x - mean);
    spreads.back().mean = mean;
    if (count > 1) spreads.back().deviation = std::sqrt(squares / (count - 1));
  }
  return spreads;
}

}  // namespace edgetune
