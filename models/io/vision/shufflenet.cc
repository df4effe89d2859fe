// ShuffleNetV2 (Ma et al. 2018) as torchvision builds it.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "models/io/vision/vision_builder.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

// The unit that halves the image: both branches are given all channels.
void Halve(VisionBuilder& b, const std::string& name, int64_t out) {
  const int64_t in = b.channels(), half = out / 2;
  const auto first = [&](VisionBuilder& part) {
    const std::string branch = name + ".branch1";
    part.ConvolveNorm(branch, 0,
                      {.out = in, .kernel = 3, .stride = 2, .groups = in},
                      std::nullopt);
    part.ConvolveNorm(branch, 2, {.out = half}, Kind::kRelu);
  };
  const auto second = [&](VisionBuilder& part) {
    const std::string branch = name + ".branch2";
    part.ConvolveNorm(branch, 0, {.out = half}, Kind::kRelu);
    part.ConvolveNorm(branch, 3,
                      {.out = half, .kernel = 3, .stride = 2, .groups = half},
                      std::nullopt);
    part.ConvolveNorm(branch, 5, {.out = half}, Kind::kRelu);
  };
  b.ShuffleUnit(first, second);
}

// The unit that keeps the size, and the first half of the channels.
void Keep(VisionBuilder& b, const std::string& name) {
  const int64_t half = b.channels() / 2;
  b.ShuffleUnit(nullptr, [&](VisionBuilder& part) {
    const std::string branch = name + ".branch2";
    part.ConvolveNorm(branch, 0, {.out = half}, Kind::kRelu);
    part.ConvolveNorm(branch, 3, {.out = half, .kernel = 3, .groups = half},
                      std::nullopt);
    part.ConvolveNorm(branch, 5, {.out = half}, Kind::kRelu);
  });
}

}  // namespace

absl::StatusOr<VisionNetwork> ShuffleNetV2(const ModelConfig& config) {
  constexpr std::array<int64_t, 3> kRepeats = {4, 8, 4};
  const std::array<int64_t, 3> channels =
      config.architecture == "shufflenet_v2_x0_5"
          ? std::array<int64_t, 3>{48, 96, 192}
          : std::array<int64_t, 3>{116, 232, 464};
  // The first and the last convolution are as wide in all of the paper's
  // networks up to 1.5; the width of the stages is what tells them apart.
  const auto widened = [&](int64_t out) {
    const double half = static_cast<double>(out) / 2;
    return 2 * std::max<int64_t>(
                   1, std::llround(half * config.variant.width_multiplier));
  };
  VisionBuilder b(config);
  b.ConvolveNorm("conv1", 0, {.out = 24, .kernel = 3, .stride = 2},
                 Kind::kRelu);
  b.MaxPool(3, 2, 1);
  for (size_t stage = 0; stage < channels.size(); ++stage) {
    const auto unit = [&](int64_t i) {
      return fmt::format("stage{}.{}", stage + 2, i);
    };
    Halve(b, unit(0), widened(channels[stage]));
    for (int64_t i = 1; i < kRepeats[stage]; ++i) Keep(b, unit(i));
  }
  b.ConvolveNorm("conv5", 0, {.out = 1024}, Kind::kRelu);
  return b.MeanPool().Flatten().Linear("fc", config.vocab).Take();
}

}  // namespace edgetune
