#include "models/io/vision/vision_network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "models/io/vision/vision_builder.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;
using Law = VisionNetwork::Law;

constexpr int64_t kLargestSide = 4096;
constexpr int64_t kMostChannels = 1024;
constexpr int64_t kMostClasses = 1 << 20;
constexpr double kWidest = 4;

struct Architecture {
  const char* name;
  absl::StatusOr<VisionNetwork> (*describe)(const ModelConfig&);
  bool variants = true;
};

constexpr Architecture kArchitectures[] = {
    {"mcmahan_2nn", SmallNetwork, false}, {"mcmahan_cnn", SmallNetwork, false},
    {"pfl_cnn", SmallNetwork, false},     {"mobilenet_v2", MobileNetV2},
    {"mobilenet_v3_small", MobileNetV3},  {"mobilenet_v3_large", MobileNetV3},
    {"shufflenet_v2_x0_5", ShuffleNetV2}, {"shufflenet_v2_x1_0", ShuffleNetV2},
    {"efficientnet_b0", EfficientNet},    {"efficientnet_b1", EfficientNet},
    {"efficientnet_b2", EfficientNet},
};

const Architecture* Find(const std::string& name) {
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
  }
  return nullptr;
}

absl::Status CheckSizes(const ModelConfig& config) {
  const ImageShape& image = *config.image;
  for (const auto& [name, value, most] :
       {std::tuple("channels", image.channels, kMostChannels),
        std::tuple("height", image.height, kLargestSide),
        std::tuple("width", image.width, kLargestSide),
        std::tuple("classes", config.vocab, kMostClasses)}) {
    if (value >= 1 && value <= most) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} is {}, wanted 1 to {}", name, value, most));
  }
  return absl::OkStatus();
}

absl::Status CheckVariant(const ModelConfig& config, bool has_variants) {
  const double width = config.variant.width_multiplier;
  if (!(width > 0 && width <= kWidest)) {
    return absl::InvalidArgumentError(
        fmt::format("width_multiplier is {}, wanted more than 0, at most {}",
                    width, kWidest));
  }
  if (has_variants || config.variant == VisionVariant{}) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} has neither a width_multiplier nor a norm", config.architecture));
}

// Biases as well, in their own way, where `bias` is set.
double Draw(const VisionLayer& layer, Law law, bool bias, Random& random) {
  const auto in = static_cast<double>(layer.fan_in());
  const auto out = static_cast<double>(layer.fan_out());
  const auto uniform = [&](double bound) {
    return (2 * random.Uniform() - 1) * bound;
  };
  if (layer.normalises()) return bias ? 0 : 1;
  if (law == Law::kDefault || law == Law::kGlorot) {
    const bool glorot = law == Law::kGlorot && !bias;
    return uniform(glorot ? std::sqrt(6 / (in + out)) : 1 / std::sqrt(in));
  }
  if (bias) return 0;
  if (layer.kind == Kind::kConvolution) {
    return random.Normal() * std::sqrt(2 / out);
  }
  return law == Law::kMobileNet ? random.Normal() * 0.01
                                : uniform(1 / std::sqrt(out));
}

int64_t CountOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

absl::Status NoSuchPart(const ParameterLayout& layout,
                        const std::string& name) {
  std::vector<std::string> first;  // in order, each once
  for (const auto& tensor : layout.tensors()) {
    std::string head = tensor.name.substr(0, tensor.name.find('.'));
    if (first.empty() || first.back() != head) first.push_back(std::move(head));
  }
  return absl::InvalidArgumentError(
      fmt::format("no parameter is of a part \"{}\"; there are {}", name,
                  fmt::join(first, ", ")));
}

}  // namespace

std::vector<int64_t> VisionLayer::shape() const {
  if (normalises()) return {out};
  if (kernel == 0) return {out, in};
  return {out, in / groups, kernel, kernel};
}

std::vector<std::string> VisionArchitectures() {
  std::vector<std::string> out;
  for (const Architecture& architecture : kArchitectures) {
    out.push_back(architecture.name);
  }
  return out;
}

bool HasVariants(const std::string& architecture) {
  const Architecture* found = Find(architecture);
  return found != nullptr && found->variants;
}

absl::StatusOr<VisionNetwork> NetworkOf(const ModelConfig& config) {
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(config));
  const Architecture* found = Find(config.architecture);
  if (found == nullptr) {
    return absl::InvalidArgumentError(fmt::format(
        "no vision architecture \"{}\"; known: {}", config.architecture,
        fmt::join(VisionArchitectures(), ", ")));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckVariant(config, found->variants));
  return found->describe(config);
}

void ForEachLayer(const std::vector<VisionLayer>& layers,
                  const std::function<void(const VisionLayer&)>& visit) {
  for (const VisionLayer& layer : layers) {
    visit(layer);
    for (const auto& part : layer.parts) ForEachLayer(part, visit);
  }
}

absl::StatusOr<ParameterLayout> LayoutOf(const VisionNetwork& network) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  ForEachLayer(network.layers, [&](const VisionLayer& layer) {
    if (!layer.has_parameters()) return;
    tensors.push_back({layer.name + ".weight", layer.shape()});
    if (layer.bias) tensors.push_back({layer.name + ".bias", {layer.out}});
  });
  return ParameterLayout::Make(std::move(tensors));
}

absl::StatusOr<ParameterLayout> PartsOf(const ParameterLayout& layout,
                                        std::span<const std::string> names) {
  const auto is_of = [](const std::string& tensor, const std::string& name) {
    return tensor == name || tensor.starts_with(name + ".");
  };
  for (const std::string& name : names) {
    const bool known = std::ranges::any_of(
        layout.tensors(),
        [&](const auto& tensor) { return is_of(tensor.name, name); });
    if (!known) return NoSuchPart(layout, name);
  }
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const auto& tensor : layout.tensors()) {
    const bool wanted = std::ranges::any_of(
        names, [&](const auto& name) { return is_of(tensor.name, name); });
    if (wanted) tensors.push_back({tensor.name, tensor.shape});
  }
  return ParameterLayout::Make(std::move(tensors));
}

absl::StatusOr<ParameterLayout> StatisticsOf(const VisionNetwork& network) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  ForEachLayer(network.layers, [&](const VisionLayer& layer) {
    if (layer.kind != Kind::kBatchNorm) return;
    tensors.push_back({layer.name + ".running_mean", {layer.out}});
    tensors.push_back({layer.name + ".running_var", {layer.out}});
  });
  return ParameterLayout::Make(std::move(tensors));
}

ParameterVector InitialWeights(const VisionNetwork& network, uint64_t seed) {
  const Random root(seed);
  ParameterVector out;
  ForEachLayer(network.layers, [&](const VisionLayer& layer) {
    if (!layer.has_parameters()) return;
    const auto append = [&](const char* what, int64_t count, bool bias) {
      Random random = root.Split(layer.name + what);
      for (int64_t i = 0; i < count; ++i) {
        out.push_back(
            static_cast<float>(Draw(layer, network.law, bias, random)));
      }
    };
    append(".weight", CountOf(layer.shape()), false);
    if (layer.bias) append(".bias", layer.out, true);
  });
  return out;
}

ParameterVector InitialStatistics(const VisionNetwork& network) {
  ParameterVector out;
  ForEachLayer(network.layers, [&](const VisionLayer& layer) {
    if (layer.kind != Kind::kBatchNorm) return;
    out.insert(out.end(), static_cast<size_t>(layer.out), 0.0f);
    out.insert(out.end(), static_cast<size_t>(layer.out), 1.0f);
  });
  return out;
}

}  // namespace edgetune
