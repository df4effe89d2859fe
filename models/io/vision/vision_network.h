#ifndef EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_
#define EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_

// What a vision model computes, as data: from one description follow its
// parameters, how they begin, the statistics it normalises by, and the forward
// pass of models/torch. Pure functions, thread-safe.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/model_file.h"

namespace edgetune {

// One layer; what has no meaning for its kind keeps its default. x is what it
// is given, N images [C,H,W].
struct VisionLayer {
  enum class Kind {
    kConvolution,  // square kernel, zeros around, channels in `groups`
    kLinear,
    kBatchNorm,  // by the fixed mean and variance of each channel
    kGroupNorm,  // by those of each image's `groups` groups of channels
    kRelu,
    kRelu6,  // min(max(x, 0), 6)
    kHardswish,
    kSilu,
    kSigmoid,
    kHardsigmoid,
    kMaxPool,   // squares of `kernel`, `stride` apart, `padding` around
    kMeanPool,  // [C,H,W] to [C,1,1]
    kFlatten,   // [C,H,W] to a vector
    kDropout,   // in training: 0 with probability `rate`, else / (1 - rate)
    // x + parts[0](x); in training the part of an image is 0 with probability
    // `rate`, else / (1 - rate) (stochastic depth, Huang et al. 2016).
    kResidual,
    kGate,  // x * parts[0](x), squeeze and excitation (Hu et al. 2018)
    // The channels of parts[0](x) and parts[1](x), taken in turn (ShuffleNet
    // V2, Ma et al. 2018). Without layers in parts[0] that is the first half
    // of x's channels, and parts[1] is given the second.
    kShuffleUnit,
  };
  Kind kind;
  std::string name = {};    // its state in PyTorch is name + ".weight", ".bias"
  int64_t in = 0, out = 0;  // channels, or features
  int64_t kernel = 0, padding = 0, stride = 1, groups = 1;
  bool bias = true;    // of what has parameters
  double epsilon = 0;  // added to a variance
  double rate = 0;
  std::vector<std::vector<VisionLayer>> parts = {};

  bool has_parameters() const { return !name.empty(); }
  bool normalises() const {
    return kind == Kind::kBatchNorm || kind == Kind::kGroupNorm;
  }
  // Of its weight: [out,in], [out,in/groups,k,k] or, as it normalises, [out].
  std::vector<int64_t> shape() const;
  // Inputs that one value meets; outputs, as PyTorch counts them, which leaves
  // groups out of account.
  int64_t fan_in() const { return in / groups * area(); }
  int64_t fan_out() const { return out * area(); }

 private:
  int64_t area() const { return kernel == 0 ? 1 : kernel * kernel; }
};

struct VisionNetwork {
  // How weights begin. kDefault: uniform in +-1/sqrt(fan_in), as PyTorch's
  // layers do (He et al. 2015 with a = sqrt 5), and biases likewise. kGlorot:
  // in +-sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio 2010), biases as before.
  // kMobileNet, as torchvision: convolutions normal with variance 2 / fan_out
  // (He et al. 2015), linear layers with 0.01^2, biases 0. kEfficientNet: the
  // same, but linear layers uniform in +-1/sqrt(out). Whatever normalises
  // begins with 1 and 0.
  enum class Law { kDefault, kGlorot, kMobileNet, kEfficientNet };
  std::vector<VisionLayer> layers;
  Law law = Law::kDefault;
};

// Of McMahan et al. 2017, "Communication-efficient learning of deep networks
// from decentralized data", section 3: "mcmahan_2nn" (two hidden layers of 200)
// and "mcmahan_cnn" (two 5x5 convolutions that keep the size, each halved by
// pooling, 512 hidden). Of pfl-research's CIFAR10 benchmark: "pfl_cnn" (two 3x3
// convolutions without padding, one pooling, dropout, 128 hidden).
// As torchvision has them, names of the state included, and with a variant:
// "mobilenet_v2" (Sandler et al. 2018), "mobilenet_v3_small" and
// "mobilenet_v3_large" (Howard et al. 2019), "shufflenet_v2_x0_5" and
// "shufflenet_v2_x1_0" (Ma et al. 2018), "efficientnet_b0" to "efficientnet_b2"
// (Tan, Le 2019). These take images of every size, but halve it five times:
// of 28 by 28 pixels one is left.
std::vector<std::string> VisionArchitectures();

// Whether config.variant may be another than the default.
bool HasVariants(const std::string& architecture);

// config.architecture for config.image, config.vocab classes and
// config.variant. InvalidArgument: not one of these, an image too small for it,
// no or more than 2^20 classes, a side above 4096, a width multiplier outside
// (0, 4], a variant of what has none.
absl::StatusOr<VisionNetwork> NetworkOf(const ModelConfig& config);

// Each layer once, those of parts after the layer that holds them: the order
// of PyTorch's state.
void ForEachLayer(const std::vector<VisionLayer>& layers,
                  const std::function<void(const VisionLayer&)>& visit);

// All parameters: layer by layer, weight, then bias.
absl::StatusOr<ParameterLayout> LayoutOf(const VisionNetwork& network);
// The tensors of `layout` that have one of these names, or one of them and a
// dot before theirs; in the layout's order. InvalidArgument: a name that no
// tensor has so.
absl::StatusOr<ParameterLayout> PartsOf(const ParameterLayout& layout,
                                        std::span<const std::string> names);
// What kBatchNorm layers normalise by, which is part of a model and never
// trained, sent or changed: layer by layer ".running_mean" [out] and
// ".running_var" [out]. Empty without such layers.
absl::StatusOr<ParameterLayout> StatisticsOf(const VisionNetwork& network);

// A function of network and seed alone: each tensor has a stream of its own.
ParameterVector InitialWeights(const VisionNetwork& network, uint64_t seed);
// Means 0 and variances 1: nothing is normalised.
ParameterVector InitialStatistics(const VisionNetwork& network);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_
