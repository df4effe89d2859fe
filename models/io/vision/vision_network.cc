#include "models/io/vision/vision_network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <tuple>
#include <utility>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Kind = VisionLayer::Kind;

constexpr int64_t kLargestSide = 4096;
constexpr int64_t kMostChannels = 1024;
constexpr int64_t kMostClasses = 1 << 20;

// Appends layers and keeps account of the shape between them.
class NetworkBuilder {
 public:
  explicit NetworkBuilder(const ImageShape& image) : at_(image) {}

  NetworkBuilder& Convolve(std::string name, int64_t out, int64_t kernel,
                           int64_t padding) {
    network_.layers.push_back({.kind = Kind::kConvolution,
                               .name = std::move(name),
                               .in = at_.channels,
                               .out = out,
                               .kernel = kernel,
                               .padding = padding});
    at_ = {out, at_.height + 2 * padding - kernel + 1,
           at_.width + 2 * padding - kernel + 1};
    return *this;
  }
  NetworkBuilder& Linear(std::string name, int64_t out) {
    network_.layers.push_back({.kind = Kind::kLinear,
                               .name = std::move(name),
                               .in = features_,
                               .out = out});
    features_ = out;
    return *this;
  }
  NetworkBuilder& Relu() { return Add({.kind = Kind::kRelu}); }
  NetworkBuilder& Pool(int64_t kernel) {
    at_ = {at_.channels, at_.height / kernel, at_.width / kernel};
    return Add({.kind = Kind::kMaxPool, .kernel = kernel});
  }
  NetworkBuilder& Flatten() {
    // Checked by TakeFor: an image that is used up has no features.
    too_small_ = at_.height < 1 || at_.width < 1;
    features_ = at_.size();
    return Add({.kind = Kind::kFlatten});
  }
  NetworkBuilder& Dropout(double rate) {
    return Add({.kind = Kind::kDropout, .rate = rate});
  }
  NetworkBuilder& Law(VisionNetwork::Law law) {
    network_.law = law;
    return *this;
  }

  absl::StatusOr<VisionNetwork> TakeFor(const ModelConfig& config) {
    if (!too_small_) return std::move(network_);
    return absl::InvalidArgumentError(fmt::format(
        "an image of {} by {} is too small for {}", config.image->height,
        config.image->width, config.architecture));
  }

 private:
  NetworkBuilder& Add(VisionLayer layer) {
    network_.layers.push_back(std::move(layer));
    return *this;
  }

  VisionNetwork network_;
  ImageShape at_;
  int64_t features_ = 0;
  bool too_small_ = false;
};

NetworkBuilder Mcmahan2nn(const ModelConfig& config) {
  NetworkBuilder b(*config.image);
  b.Flatten().Linear("fc1", 200).Relu().Linear("fc2", 200).Relu();
  return b.Linear("fc3", config.vocab);
}

NetworkBuilder McmahanCnn(const ModelConfig& config) {
  NetworkBuilder b(*config.image);
  b.Convolve("conv1", 32, 5, 2).Relu().Pool(2);
  b.Convolve("conv2", 64, 5, 2).Relu().Pool(2);
  return b.Flatten().Linear("fc1", 512).Relu().Linear("fc2", config.vocab);
}

// Names as its nn.Sequential counts them.
NetworkBuilder PflCnn(const ModelConfig& config) {
  NetworkBuilder b(*config.image);
  b.Convolve("1", 32, 3, 0).Relu().Convolve("3", 64, 3, 0).Relu().Pool(2);
  b.Dropout(0.25).Flatten().Linear("8", 128).Relu().Dropout(0.5);
  return b.Linear("11", config.vocab).Law(VisionNetwork::Law::kGlorot);
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

}  // namespace

std::vector<std::string> VisionArchitectures() {
  return {"mcmahan_2nn", "mcmahan_cnn", "pfl_cnn"};
}

absl::StatusOr<VisionNetwork> NetworkOf(const ModelConfig& config) {
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(config));
  const std::string& name = config.architecture;
  if (name == "mcmahan_2nn") return Mcmahan2nn(config).TakeFor(config);
  if (name == "mcmahan_cnn") return McmahanCnn(config).TakeFor(config);
  if (name == "pfl_cnn") return PflCnn(config).TakeFor(config);
  return absl::InvalidArgumentError(
      fmt::format("no vision architecture \"{}\"; known: {}", name,
                  fmt::join(VisionArchitectures(), ", ")));
}

absl::StatusOr<ParameterLayout> LayoutOf(const VisionNetwork& network) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const VisionLayer& layer : network.layers) {
    if (!layer.has_parameters()) continue;
    std::vector<int64_t> shape = {layer.out, layer.in};
    if (layer.kernel > 0) shape.insert(shape.end(), 2, layer.kernel);
    tensors.push_back({layer.name + ".weight", std::move(shape)});
    tensors.push_back({layer.name + ".bias", {layer.out}});
  }
  return ParameterLayout::Make(std::move(tensors));
}

ParameterVector InitialWeights(const VisionNetwork& network, uint64_t seed) {
  const Random root(seed);
  ParameterVector out;
  const auto append = [&](const std::string& name, int64_t count, double to) {
    Random random = root.Split(name);
    for (int64_t i = 0; i < count; ++i) {
      out.push_back(static_cast<float>((2 * random.Uniform() - 1) * to));
    }
  };
  for (const VisionLayer& layer : network.layers) {
    if (!layer.has_parameters()) continue;
    const auto in = static_cast<double>(layer.fan_in());
    const auto both = in + static_cast<double>(layer.fan_out());
    const double usual = 1 / std::sqrt(in);
    const bool glorot = network.law == VisionNetwork::Law::kGlorot;
    append(layer.name + ".weight", layer.out * layer.fan_in(),
           glorot ? std::sqrt(6 / both) : usual);
    append(layer.name + ".bias", layer.out, usual);
  }
  return out;
}

}  // namespace edgetune
