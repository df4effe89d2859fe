#include "models/io/vision/vision_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

// Wu, He 2018 take 32 groups of the hundreds of channels of a ResNet; these
// networks have as few as 8, and every number of groups must divide them.
constexpr int64_t kGroups = 8;
constexpr double kGroupEpsilon = 1e-5;

}  // namespace

int64_t MakeDivisible(double v) {
  constexpr int64_t kDivisor = 8;
  const auto near = static_cast<int64_t>(v + kDivisor / 2.0);
  const int64_t out = std::max(kDivisor, near / kDivisor * kDivisor);
  return static_cast<double>(out) < 0.9 * v ? out + kDivisor : out;
}

VisionBuilder::VisionBuilder(const ModelConfig& config, double epsilon)
    : config_(config), epsilon_(epsilon), at_(*config.image) {}

VisionBuilder& VisionBuilder::Convolve(std::string name,
                                       const Convolution& what) {
  const int64_t padding = what.padded ? (what.kernel - 1) / 2 : 0;
  Add({.kind = Kind::kConvolution,
       .name = std::move(name),
       .in = at_.channels,
       .out = what.out,
       .kernel = what.kernel,
       .padding = padding,
       .stride = what.stride,
       .groups = what.groups,
       .bias = what.bias});
  at_.channels = what.out;
  Shrink(what.kernel, what.stride, padding);
  return *this;
}

VisionBuilder& VisionBuilder::Norm(std::string name) {
  const int64_t channels = at_.channels;
  if (config_.variant.norm == VisionVariant::Norm::kBatch) {
    return Add({.kind = Kind::kBatchNorm,
                .name = std::move(name),
                .out = channels,
                .epsilon = epsilon_});
  }
  const int64_t groups = std::gcd(channels, kGroups);
  // One value less its mean is 0, whatever the image.
  too_small_ |= channels / groups * at_.height * at_.width < 2;
  return Add({.kind = Kind::kGroupNorm,
              .name = std::move(name),
              .out = channels,
              .groups = groups,
              .epsilon = kGroupEpsilon});
}

VisionBuilder& VisionBuilder::ConvolveNorm(const std::string& prefix, int first,
                                           const Convolution& what,
                                           std::optional<Kind> activation) {
  Convolve(fmt::format("{}.{}", prefix, first), what);
  Norm(fmt::format("{}.{}", prefix, first + 1));
  return activation.has_value() ? Apply(*activation) : *this;
}

VisionBuilder& VisionBuilder::Linear(std::string name, int64_t out) {
  Add({.kind = Kind::kLinear,
       .name = std::move(name),
       .in = features_,
       .out = out});
  features_ = out;
  return *this;
}

VisionBuilder& VisionBuilder::Apply(Kind kind) { return Add({.kind = kind}); }

VisionBuilder& VisionBuilder::MaxPool(int64_t kernel, int64_t stride,
                                      int64_t padding) {
  Add({.kind = Kind::kMaxPool,
       .kernel = kernel,
       .padding = padding,
       .stride = stride});
  Shrink(kernel, stride, padding);
  return *this;
}

VisionBuilder& VisionBuilder::MeanPool() {
  at_ = {at_.channels, 1, 1};
  return Add({.kind = Kind::kMeanPool});
}

VisionBuilder& VisionBuilder::Flatten() {
  features_ = at_.size();
  return Add({.kind = Kind::kFlatten});
}

VisionBuilder& VisionBuilder::Dropout(double rate) {
  return Add({.kind = Kind::kDropout, .rate = rate});
}

VisionBuilder& VisionBuilder::Residual(double rate, const Part& body) {
  const ImageShape before = at_;
  std::vector<VisionLayer> layers = Collect(before, body);
  EDGETUNE_CHECK(at_ == before);
  return Add(
      {.kind = Kind::kResidual, .rate = rate, .parts = {std::move(layers)}});
}

VisionBuilder& VisionBuilder::SqueezeExcite(const std::string& prefix,
                                            int64_t squeezed, Kind inner,
                                            Kind outer) {
  const ImageShape before = at_;
  std::vector<VisionLayer> layers = Collect(before, [&](VisionBuilder& part) {
    part.MeanPool();
    part.Convolve(prefix + ".fc1", {.out = squeezed, .bias = true});
    part.Apply(inner);
    part.Convolve(prefix + ".fc2", {.out = before.channels, .bias = true});
    part.Apply(outer);
  });
  at_ = before;
  return Add({.kind = Kind::kGate, .parts = {std::move(layers)}});
}

VisionBuilder& VisionBuilder::ShuffleUnit(const Part& first,
                                          const Part& second) {
  ImageShape given = at_;
  if (!first) given.channels /= 2;
  std::vector<VisionLayer> one;
  if (first) one = Collect(given, first);
  const int64_t kept = first ? at_.channels : given.channels;
  std::vector<VisionLayer> two = Collect(given, second);
  EDGETUNE_CHECK(at_.channels == kept);  // taken in turn
  at_.channels += kept;
  return Add(
      {.kind = Kind::kShuffleUnit, .parts = {std::move(one), std::move(two)}});
}

VisionBuilder& VisionBuilder::Law(VisionNetwork::Law law) {
  network_.law = law;
  return *this;
}

int64_t VisionBuilder::Widened(int64_t channels, double multiplier) const {
  return MakeDivisible(static_cast<double>(channels) *
                       (multiplier * config_.variant.width_multiplier));
}

absl::StatusOr<VisionNetwork> VisionBuilder::Take() {
  if (!too_small_) return std::move(network_);
  return absl::InvalidArgumentError(fmt::format(
      "an image of {} by {} is too small for {} with a width multiplier of {}",
      config_.image->height, config_.image->width, config_.architecture,
      config_.variant.width_multiplier));
}

VisionBuilder& VisionBuilder::Add(VisionLayer layer) {
  network_.layers.push_back(std::move(layer));
  return *this;
}

void VisionBuilder::Shrink(int64_t kernel, int64_t stride, int64_t padding) {
  const auto shrunk = [&](int64_t side) {
    const int64_t room = side + 2 * padding - kernel;
    return room < 0 ? 0 : room / stride + 1;
  };
  at_ = {at_.channels, shrunk(at_.height), shrunk(at_.width)};
  too_small_ |= at_.height < 1 || at_.width < 1;
}

std::vector<VisionLayer> VisionBuilder::Collect(const ImageShape& shape,
                                                const Part& part) {
  std::vector<VisionLayer> outer = std::exchange(network_.layers, {});
  at_ = shape;
  part(*this);
  return std::exchange(network_.layers, std::move(outer));
}

}  // namespace edgetune
