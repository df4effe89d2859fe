// MobileNetV2 (Sandler et al. 2018) and V3 (Howard et al. 2019) as torchvision
// builds them: names, rounding of channels, epsilon.

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "models/io/vision/vision_builder.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

// A row of the papers' tables. V2: `expanded` is a factor, V3: channels.
struct RowV2 {
  int64_t factor, out, repeats, stride;
};
constexpr RowV2 kV2[] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2},
                         {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2},
                         {6, 320, 1, 1}};

struct RowV3 {
  int64_t kernel, expanded, out;
  bool squeezed;
  Kind activation;
  int64_t stride;
};
constexpr Kind RE = Kind::kRelu, HS = Kind::kHardswish;
constexpr RowV3 kV3Large[] = {
    {3, 16, 16, false, RE, 1},  {3, 64, 24, false, RE, 2},
    {3, 72, 24, false, RE, 1},  {5, 72, 40, true, RE, 2},
    {5, 120, 40, true, RE, 1},  {5, 120, 40, true, RE, 1},
    {3, 240, 80, false, HS, 2}, {3, 200, 80, false, HS, 1},
    {3, 184, 80, false, HS, 1}, {3, 184, 80, false, HS, 1},
    {3, 480, 112, true, HS, 1}, {3, 672, 112, true, HS, 1},
    {5, 672, 160, true, HS, 2}, {5, 960, 160, true, HS, 1},
    {5, 960, 160, true, HS, 1}};
constexpr RowV3 kV3Small[] = {
    {3, 16, 16, true, RE, 2},  {3, 72, 24, false, RE, 2},
    {3, 88, 24, false, RE, 1}, {5, 96, 40, true, HS, 2},
    {5, 240, 40, true, HS, 1}, {5, 240, 40, true, HS, 1},
    {5, 120, 48, true, HS, 1}, {5, 144, 48, true, HS, 1},
    {5, 288, 96, true, HS, 2}, {5, 576, 96, true, HS, 1},
    {5, 576, 96, true, HS, 1}};

// What an inverted residual wraps in a shortcut where it keeps the shape.
void Shortcut(VisionBuilder& b, int64_t out, int64_t stride,
              const VisionBuilder::Part& body) {
  if (stride == 1 && b.channels() == out) {
    b.Residual(/*rate=*/0, body);
  } else {
    body(b);
  }
}

void BlockV2(VisionBuilder& b, const std::string& name, int64_t factor,
             int64_t out, int64_t stride) {
  const int64_t hidden = b.channels() * factor;
  Shortcut(b, out, stride, [&](VisionBuilder& part) {
    int at = 0;
    const auto next = [&] { return fmt::format("{}.conv.{}", name, at++); };
    if (factor != 1) {
      part.ConvolveNorm(next(), 0, {.out = hidden}, Kind::kRelu6);
    }
    part.ConvolveNorm(
        next(), 0,
        {.out = hidden, .kernel = 3, .stride = stride, .groups = hidden},
        Kind::kRelu6);
    part.ConvolveNorm(name + ".conv", at, {.out = out}, std::nullopt);
  });
}

void BlockV3(VisionBuilder& b, const std::string& name, const RowV3& row) {
  const int64_t hidden = b.Widened(row.expanded), out = b.Widened(row.out);
  const bool expands = hidden != b.channels();
  Shortcut(b, out, row.stride, [&](VisionBuilder& part) {
    int at = 0;
    const auto next = [&] { return fmt::format("{}.block.{}", name, at++); };
    if (expands) part.ConvolveNorm(next(), 0, {.out = hidden}, row.activation);
    part.ConvolveNorm(next(), 0,
                      {.out = hidden,
                       .kernel = row.kernel,
                       .stride = row.stride,
                       .groups = hidden},
                      row.activation);
    if (row.squeezed) {
      const int64_t squeezed = MakeDivisible(static_cast<double>(hidden / 4));
      part.SqueezeExcite(next(), squeezed, Kind::kRelu, Kind::kHardsigmoid);
    }
    part.ConvolveNorm(next(), 0, {.out = out}, std::nullopt);
  });
}

}  // namespace

absl::StatusOr<VisionNetwork> MobileNetV2(const ModelConfig& config) {
  VisionBuilder b(config);
  b.ConvolveNorm("features.0", 0,
                 {.out = b.Widened(32), .kernel = 3, .stride = 2},
                 Kind::kRelu6);
  int at = 1;
  for (const RowV2& row : kV2) {
    for (int64_t i = 0; i < row.repeats; ++i) {
      BlockV2(b, fmt::format("features.{}", at++), row.factor,
              b.Widened(row.out), i == 0 ? row.stride : 1);
    }
  }
  const double width = std::max(1.0, config.variant.width_multiplier);
  b.ConvolveNorm(fmt::format("features.{}", at), 0,
                 {.out = MakeDivisible(1280 * width)}, Kind::kRelu6);
  b.MeanPool().Flatten().Dropout(0.2).Linear("classifier.1", config.vocab);
  return b.Law(VisionNetwork::Law::kMobileNet).Take();
}

absl::StatusOr<VisionNetwork> MobileNetV3(const ModelConfig& config) {
  const bool large = config.architecture == "mobilenet_v3_large";
  VisionBuilder b(config, /*epsilon=*/1e-3);
  b.ConvolveNorm("features.0", 0,
                 {.out = b.Widened(16), .kernel = 3, .stride = 2}, HS);
  int at = 1;
  for (const RowV3& row : large ? std::span<const RowV3>(kV3Large)
                                : std::span<const RowV3>(kV3Small)) {
    BlockV3(b, fmt::format("features.{}", at++), row);
  }
  b.ConvolveNorm(fmt::format("features.{}", at), 0, {.out = 6 * b.channels()},
                 HS);
  b.MeanPool().Flatten();
  b.Linear("classifier.0", b.Widened(large ? 1280 : 1024)).Apply(HS);
  b.Dropout(0.2).Linear("classifier.3", config.vocab);
  return b.Law(VisionNetwork::Law::kMobileNet).Take();
}

}  // namespace edgetune
