#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <set>

#include "base/status.h"
#include "privacy/secagg/masked_vector.h"

namespace edgetune::secagg {
namespace {

static_assert(std::endian::native == std::endian::little,
              "random words are read as they lie in memory");

constexpr size_t kBlock = 4096;  // coordinates to a draw
using RandomWords = std::array<uint32_t, kBlock>;

// Words in [0, 2^32) for the next n values.
absl::Status Draw(RandomSource& random, size_t n, RandomWords& words) {
  return random.Fill(
      {reinterpret_cast<uint8_t*>(words.data()), n * sizeof(uint32_t)});
}

// floor(value + word / 2^32). Adding would round, so the fraction is compared:
// 1 - fraction <= u. Comparisons are numbers here, because a branch on a random
// bit is guessed wrong half of the time.
int32_t RoundStochastically(double value, uint32_t word) {
  const auto toward_zero = static_cast<int32_t>(value);
  const int32_t floor = toward_zero - static_cast<int32_t>(toward_zero > value);
  const double rest = 1.0 - (value - floor);
  return floor + static_cast<int32_t>(rest <= word * 0x1p-32);
}

bool IsFinite(float value) {
  return (std::bit_cast<uint32_t>(value) & 0x7F800000) != 0x7F800000;
}

absl::Status CheckFinite(std::span<const float> coordinates) {
  // Counted whole, because a loop that may stop is not vectorised.
  size_t finite = 0;
  for (const float value : coordinates) finite += IsFinite(value) ? 1 : 0;
  if (finite == coordinates.size()) return absl::OkStatus();
  const auto at =
      std::find_if_not(coordinates.begin(), coordinates.end(), IsFinite);
  return absl::InvalidArgumentError(fmt::format(
      "coordinate {} is not a finite number", at - coordinates.begin()));
}

// The lanes' values in order of the shape.
absl::StatusOr<std::vector<double>> LaneValues(const MaskedShape& shape,
                                               const PlainInput& input) {
  if (!(input.weight > 0 && input.weight <= 1)) {
    return absl::InvalidArgumentError("a weight must lie in (0, 1]");
  }
  if (input.lanes.size() != shape.lanes.size()) {
    return absl::InvalidArgumentError("other lanes than the shape's");
  }
  double weight = 1;
  std::vector<double> values;
  for (const MaskedShape::Lane& lane : shape.lanes) {
    const auto use = static_cast<int>(lane.use);
    const auto found = input.lanes.find(lane.use);
    if (found == input.lanes.end()) {
      return absl::InvalidArgumentError(fmt::format("lane {} is missing", use));
    }
    if (!(found->second >= 0 && found->second <= lane.bound)) {
      return absl::InvalidArgumentError(
          fmt::format("lane {} is beyond its bound", use));
    }
    if (lane.use == LaneUse::kWeight) weight = found->second;
    values.push_back(found->second);
  }
  if (input.weight != weight) {
    return absl::InvalidArgumentError("another weight than its lane says");
  }
  return values;
}

struct Rounding {
  double bound;   // coordinates are clamped to it
  double factor;  // and multiplied by this
};

// words[i]: in, random; out, the lane.
void QuantizeBlock(const Rounding& rounding, std::span<const float> from,
                   uint32_t* words) {
  const double bound = rounding.bound;
  for (size_t i = 0; i < from.size(); ++i) {
    const double value = from[i];
    const double low = value < bound ? value : bound;
    const double clamped = low > -bound ? low : -bound;
    words[i] = static_cast<uint32_t>(
        RoundStochastically(clamped * rounding.factor, words[i]));
  }
}

}  // namespace

bool FitsRing(const MaskedShape& shape, double bound, double scale) {
  const double steps = bound * scale;
  const int64_t largest = (int64_t{1} << (shape.bits - 1)) - 1;
  if (!(steps >= 1 && steps < static_cast<double>(largest))) return false;
  return shape.n_max * (static_cast<int64_t>(steps) + 1) <= largest;
}

absl::Status CheckShape(const MaskedShape& shape) {
  if (shape.bits != 16 && shape.bits != 20 && shape.bits != 24 &&
      shape.bits != 32) {
    return absl::InvalidArgumentError(
        fmt::format("a ring of {} bits", shape.bits));
  }
  if (shape.n_max < 1) return absl::InvalidArgumentError("a sum of nothing");
  std::set<LaneUse> seen;
  std::vector<double> bounds;
  if (shape.coordinates > 0) bounds.push_back(shape.bound);
  for (const MaskedShape::Lane& lane : shape.lanes) {
    if (!seen.insert(lane.use).second) {
      return absl::InvalidArgumentError("two lanes of one use");
    }
    bounds.push_back(lane.bound);
  }
  for (const double bound : bounds) {
    if (!(bound > 0 && std::isfinite(bound))) {
      return absl::InvalidArgumentError("a bound must be positive");
    }
    if (!FitsRing(shape, bound, shape.ScaleOf(bound))) {
      return absl::InvalidArgumentError(fmt::format(
          "sums of {} clients would not fit {} bits", shape.n_max, shape.bits));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RingVector> Quantize(const MaskedShape& shape,
                                    const PlainInput& input, uint16_t canary,
                                    RandomSource& random) {
  EDGETUNE_RETURN_IF_ERROR(CheckShape(shape));
  if (input.coordinates.size() != shape.coordinates) {
    return absl::InvalidArgumentError(fmt::format("{} coordinates, wanted {}",
                                                  input.coordinates.size(),
                                                  shape.coordinates));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<double> lanes,
                            LaneValues(shape, input));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(input.coordinates));
  RingVector vector(shape.size());
  vector[0] = 1;
  vector[1] = canary;
  RandomWords words;
  EDGETUNE_RETURN_IF_ERROR(Draw(random, lanes.size(), words));
  size_t at = 2;
  for (size_t i = 0; i < lanes.size(); ++i) {
    const double scale = shape.ScaleOf(shape.lanes[i].bound);
    vector[at++] =
        static_cast<uint32_t>(RoundStochastically(lanes[i] * scale, words[i]));
  }
  const Rounding rounding{shape.bound,
                          input.weight * shape.ScaleOf(shape.bound)};
  for (size_t from = 0; from < shape.coordinates; from += kBlock) {
    const std::span<const float> block = input.coordinates.subspan(
        from, std::min(kBlock, shape.coordinates - from));
    EDGETUNE_RETURN_IF_ERROR(Draw(random, block.size(), words));
    QuantizeBlock(rounding, block, words.data());
    std::copy_n(words.begin(), block.size(),
                vector.begin() + static_cast<std::ptrdiff_t>(at + from));
  }
  return vector;
}

size_t CountClamped(const MaskedShape& shape,
                    std::span<const float> coordinates) {
  size_t beyond = 0;
  for (const float value : coordinates) {
    beyond += std::fabs(static_cast<double>(value)) > shape.bound ? 1 : 0;
  }
  return beyond;
}

}  // namespace edgetune::secagg
