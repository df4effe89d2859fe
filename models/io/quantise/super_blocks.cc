#include "models/io/quantise/super_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "models/io/quantise/block_types.h"

namespace edgetune {
namespace {

constexpr int kSuper = 256;

// To nearest, ties to even, as the default rounding mode has it.
int Nearest(float value) { return static_cast<int>(std::lrintf(value)); }

float StoreAndReadHalf(float value, uint8_t* out) {
  const uint16_t half = HalfOf(value);
  std::memcpy(out, &half, sizeof(half));
  float stored;
  Dequantise(BlockType::kF16, {out, 2}, {&stored, 1});
  return stored;
}

// --- Q4_K and Q5_K: value = scale * level - minimum, levels 0..top

constexpr int kSub = 32, kSubs = kSuper / kSub;

struct Line {
  float scale = 0, minimum = 0;  // the minimum is not above 0
};

struct Search {
  int top;      // highest level
  float first;  // the grid of steps: (first + 0.1 i + top) / range
  int steps;    // i = 0..steps
};

struct Weighted {
  const float* x;
  float weights[kSub] = {};
  float sum_w = 0, sum_x = 0;
  float low = 0, high = 0;
};

Weighted WeightsOf(const float* x) {
  Weighted w{.x = x};
  float squares = 0;
  for (int l = 0; l < kSub; ++l) squares += x[l] * x[l];
  const float typical = std::sqrt(squares / kSub);
  for (int l = 0; l < kSub; ++l) w.weights[l] = typical + std::fabs(x[l]);
  w.low = w.high = x[0];
  for (int l = 0; l < kSub; ++l) {
    w.low = std::min(w.low, x[l]);
    w.high = std::max(w.high, x[l]);
    w.sum_w += w.weights[l];
    w.sum_x += w.weights[l] * x[l];
  }
  w.low = std::min(w.low, 0.0f);
  return w;
}

void LevelsOf(const Weighted& w, float per_step, int top, uint8_t* levels) {
  for (int l = 0; l < kSub; ++l) {
    levels[l] = static_cast<uint8_t>(
        std::clamp(Nearest(per_step * (w.x[l] - w.low)), 0, top));
  }
}

float ErrorOf(const Weighted& w, const Line& line, const uint8_t* levels) {
  float error = 0;
  for (int l = 0; l < kSub; ++l) {
    const float off =
        line.scale * static_cast<float>(levels[l]) + line.minimum - w.x[l];
    error += w.weights[l] * (off * off);
  }
  return error;
}

// The best line through these levels; false: they do not determine one.
bool Fit(const Weighted& w, const uint8_t* levels, Line& line) {
  float sum_l = 0, sum_l2 = 0, sum_xl = 0;
  for (int l = 0; l < kSub; ++l) {
    const float level = static_cast<float>(levels[l]);
    sum_l += w.weights[l] * level;
    sum_l2 += w.weights[l] * level * level;
    sum_xl += w.weights[l] * level * w.x[l];
  }
  const float determinant = w.sum_w * sum_l2 - sum_l * sum_l;
  if (!(determinant > 0)) return false;
  line.scale = (w.sum_w * sum_xl - w.sum_x * sum_l) / determinant;
  line.minimum = (sum_l2 * w.sum_x - sum_l * sum_xl) / determinant;
  if (line.minimum > 0) line = {sum_xl / sum_l2, 0};
  return true;
}

// Each improvement moves the minimum from which the next candidates start.
Line BestLine(const float* x, const Search& search, uint8_t* levels) {
  Weighted w = WeightsOf(x);
  if (w.high == w.low) {
    std::fill_n(levels, kSub, 0);
    return {0, w.low};
  }
  const float top = static_cast<float>(search.top);
  const float per_step = top / (w.high - w.low);
  Line best = {1 / per_step, w.low};
  LevelsOf(w, per_step, search.top, levels);
  float least = ErrorOf(w, best, levels);
  uint8_t tried[kSub];
  for (int i = 0; i <= search.steps; ++i) {
    const float steps = search.first + 0.1f * static_cast<float>(i) + top;
    LevelsOf(w, steps / (w.high - w.low), search.top, tried);
    Line line;
    if (!Fit(w, tried, line)) continue;
    const float error = ErrorOf(w, line, tried);
    if (error < least) {
      least = error;
      best = line;
      w.low = line.minimum;
      std::copy_n(tried, kSub, levels);
    }
  }
  return best;
}

// Eight pairs of six bits in twelve bytes.
void StoreSixBitPairs(const uint8_t* scales, const uint8_t* minima,
                      uint8_t* q) {
  for (int j = 0; j < 4; ++j) {
    const uint8_t scale = scales[j + 4], minimum = minima[j + 4];
    q[j] = static_cast<uint8_t>(scales[j] | scale >> 4 << 6);
    q[j + 4] = static_cast<uint8_t>(minima[j] | minimum >> 4 << 6);
    q[j + 8] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
  }
}

uint8_t SixBits(float value) {
  return static_cast<uint8_t>(std::min(63, Nearest(value)));
}

// Scales and minima to out's first 16 bytes, levels to `levels`.
void WriteLines(const float* x, const Search& search, uint8_t* out,
                uint8_t* levels) {
  Line lines[kSubs];
  float max_scale = 0, max_depth = 0;
  for (int j = 0; j < kSubs; ++j) {
    lines[j] = BestLine(x + kSub * j, search, levels + kSub * j);
    max_scale = std::max(max_scale, lines[j].scale);
    max_depth = std::max(max_depth, -lines[j].minimum);
  }
  const float scale_unit = max_scale > 0 ? 63 / max_scale : 0;
  const float depth_unit = max_depth > 0 ? 63 / max_depth : 0;
  uint8_t scales[kSubs], minima[kSubs];
  for (int j = 0; j < kSubs; ++j) {
    scales[j] = SixBits(scale_unit * lines[j].scale);
    minima[j] = SixBits(depth_unit * -lines[j].minimum);
  }
  const float d = StoreAndReadHalf(max_scale / 63, out);
  const float dmin = StoreAndReadHalf(max_depth / 63, out + 2);
  StoreSixBitPairs(scales, minima, out + 4);
  for (int j = 0; j < kSubs; ++j) {
    const float scale = d * scales[j], depth = dmin * minima[j];
    if (scale == 0) continue;  // the levels stay, though they mean nothing
    for (int l = 0; l < kSub; ++l) {
      const int level = Nearest((x[kSub * j + l] + depth) / scale);
      levels[kSub * j + l] =
          static_cast<uint8_t>(std::clamp(level, 0, search.top));
    }
  }
}

// Low nibbles of two sub-blocks side by side in 32 bytes.
void StoreLowNibbles(const uint8_t* levels, uint8_t* qs) {
  for (int pair = 0; pair < kSubs / 2; ++pair) {
    for (int l = 0; l < kSub; ++l) {
      const uint8_t* at = levels + 2 * kSub * pair + l;
      qs[kSub * pair + l] =
          static_cast<uint8_t>((at[0] & 15) | (at[kSub] & 15) << 4);
    }
  }
}

// --- Q6_K: value = scale * level, levels -32..31, sub-blocks of 16

constexpr int kSmall = 16, kSmalls = kSuper / kSmall, kHalfLevels = 32;
constexpr float kNothing = 1e-15f;  // below this a sub-block is all zero

// Levels are kept with this added.
uint8_t LevelOf(float steps) {
  return static_cast<uint8_t>(
      std::clamp(Nearest(steps), -kHalfLevels, kHalfLevels - 1) + kHalfLevels);
}

struct Projection {
  float along = 0, square = 0;  // sums of w x level and of w level^2
  uint8_t levels[kSmall];
};

Projection Project(const float* x, float per_step) {
  Projection made;
  for (int l = 0; l < kSmall; ++l) {
    made.levels[l] = LevelOf(per_step * x[l]);
    const float level = static_cast<float>(made.levels[l] - kHalfLevels);
    const float weight = x[l] * x[l];
    made.along += weight * x[l] * level;
    made.square += weight * level * level;
  }
  return made;
}

float BestScale(const float* x, uint8_t* levels) {
  float extreme = 0;
  for (int l = 0; l < kSmall; ++l) {
    if (std::fabs(x[l]) > std::fabs(extreme)) extreme = x[l];
  }
  if (std::fabs(extreme) < kNothing) {
    std::fill_n(levels, kSmall, 0);
    return 0;
  }
  const Projection first = Project(x, -kHalfLevels / extreme);
  std::copy_n(first.levels, kSmall, levels);
  float scale = first.square != 0 ? first.along / first.square : 0;
  float best = scale * first.along;
  for (int i = -9; i <= 9; ++i) {
    if (i == 0) continue;
    const float steps =
        static_cast<float>(kHalfLevels) + 0.1f * static_cast<float>(i);
    const Projection made = Project(x, -steps / extreme);
    if (made.square > 0 && made.along * made.along > best * made.square) {
      scale = made.along / made.square;
      best = scale * made.along;
      std::copy_n(made.levels, kSmall, levels);
    }
  }
  return scale;
}

void StoreSixBitLevels(const uint8_t* levels, uint8_t* out) {
  uint8_t* ql = out;
  uint8_t* qh = out + 128;
  for (int part = 0; part < 2; ++part, levels += 128, ql += 64, qh += 32) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t* q = levels + l;
      ql[l] = static_cast<uint8_t>((q[0] & 15) | (q[64] & 15) << 4);
      ql[l + 32] = static_cast<uint8_t>((q[32] & 15) | (q[96] & 15) << 4);
      qh[l] = static_cast<uint8_t>(q[0] >> 4 | q[32] >> 4 << 2 |
                                   q[64] >> 4 << 4 | q[96] >> 4 << 6);
    }
  }
}

}  // namespace

uint16_t HalfOf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  // 65,520 and above round to 2^16, which is infinity there.
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Subnormal there: adding 0.5 leaves the value in units of 2^-24 in the
    // lowest bits, rounded by the addition itself.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

void WriteQ4_K(const float* x, uint8_t* out) {
  uint8_t levels[kSuper];
  WriteLines(x, {.top = 15, .first = -1, .steps = 20}, out, levels);
  StoreLowNibbles(levels, out + 16);
}

void WriteQ5_K(const float* x, uint8_t* out) {
  uint8_t levels[kSuper];
  WriteLines(x, {.top = 31, .first = -0.5f, .steps = 15}, out, levels);
  uint8_t* qh = out + 16;
  std::memset(qh, 0, kSub);
  for (int i = 0; i < kSuper; ++i) {
    qh[i % kSub] |= static_cast<uint8_t>(levels[i] >> 4 << i / kSub);
  }
  StoreLowNibbles(levels, out + 48);
}

void WriteQ6_K(const float* x, uint8_t* out) {
  float scales[kSmalls], extreme = 0;
  uint8_t levels[kSuper];
  for (int j = 0; j < kSmalls; ++j) {
    scales[j] = BestScale(x + kSmall * j, levels + kSmall * j);
    if (std::fabs(scales[j]) > std::fabs(extreme)) extreme = scales[j];
  }
  if (std::fabs(extreme) < kNothing) {
    std::memset(out, 0, 210);
    return;
  }
  const float unit = -128 / extreme;
  const float d = StoreAndReadHalf(1 / unit, out + 208);
  for (int j = 0; j < kSmalls; ++j) {
    const int8_t small =
        static_cast<int8_t>(std::min(127, Nearest(unit * scales[j])));
    out[192 + j] = static_cast<uint8_t>(small);
    const float scale = d * small;
    if (scale == 0) continue;
    for (int i = kSmall * j; i < kSmall * (j + 1); ++i) {
      levels[i] = LevelOf(x[i] / scale);
    }
  }
  StoreSixBitLevels(levels, out);
}

}  // namespace edgetune
