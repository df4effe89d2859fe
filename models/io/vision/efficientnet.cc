// EfficientNet B0 to B2 (Tan, Le 2019) as torchvision builds them.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "models/io/vision/vision_builder.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

// A row of the paper's table 1: the first block of a stage has `stride`.
struct Row {
  int64_t factor, kernel, stride, out, repeats;
};
constexpr Row kRows[] = {{1, 3, 1, 16, 1}, {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2},
                         {6, 3, 2, 80, 3}, {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4},
                         {6, 3, 1, 320, 1}};
constexpr double kStochasticDepth = 0.2;  // of the last block, were there one

struct Scale {
  double width, depth, dropout;
};

Scale ScaleOf(const std::string& architecture) {
  if (architecture == "efficientnet_b0") return {1, 1, 0.2};
  if (architecture == "efficientnet_b1") return {1, 1.1, 0.2};
  return {1.1, 1.2, 0.3};
}

int64_t Repeated(const Row& row, const Scale& scale) {
  return static_cast<int64_t>(
      std::ceil(static_cast<double>(row.repeats) * scale.depth));
}

struct Block {
  int64_t factor, kernel, stride, out;
  double rate;  // of stochastic depth
};

void AddBlock(VisionBuilder& b, const std::string& name, const Block& block) {
  const int64_t in = b.channels();
  const int64_t hidden = MakeDivisible(static_cast<double>(in * block.factor));
  const auto body = [&](VisionBuilder& part) {
    int at = 0;
    const auto next = [&] { return fmt::format("{}.block.{}", name, at++); };
    if (hidden != in) {
      part.ConvolveNorm(next(), 0, {.out = hidden}, Kind::kSilu);
    }
    part.ConvolveNorm(next(), 0,
                      {.out = hidden,
                       .kernel = block.kernel,
                       .stride = block.stride,
                       .groups = hidden},
                      Kind::kSilu);
    part.SqueezeExcite(next(), std::max<int64_t>(1, in / 4), Kind::kSilu,
                       Kind::kSigmoid);
    part.ConvolveNorm(next(), 0, {.out = block.out}, std::nullopt);
  };
  if (block.stride == 1 && in == block.out) {
    b.Residual(block.rate, body);
  } else {
    body(b);
  }
}

}  // namespace

absl::StatusOr<VisionNetwork> EfficientNet(const ModelConfig& config) {
  const Scale scale = ScaleOf(config.architecture);
  int64_t blocks = 0, block = 0;
  for (const Row& row : kRows) blocks += Repeated(row, scale);
  VisionBuilder b(config);
  b.ConvolveNorm("features.0", 0,
                 {.out = b.Widened(32, scale.width), .kernel = 3, .stride = 2},
                 Kind::kSilu);
  int stage = 1;
  for (const Row& row : kRows) {
    for (int64_t i = 0; i < Repeated(row, scale); ++i, ++block) {
      AddBlock(b, fmt::format("features.{}.{}", stage, i),
               {.factor = row.factor,
                .kernel = row.kernel,
                .stride = i == 0 ? row.stride : 1,
                .out = b.Widened(row.out, scale.width),
                .rate = kStochasticDepth * static_cast<double>(block) /
                        static_cast<double>(blocks)});
    }
    ++stage;
  }
  b.ConvolveNorm(fmt::format("features.{}", stage), 0,
                 {.out = 4 * b.channels()}, Kind::kSilu);
  b.MeanPool().Flatten().Dropout(scale.dropout);
  b.Linear("classifier.1", config.vocab);
  return b.Law(VisionNetwork::Law::kEfficientNet).Take();
}

}  // namespace edgetune
