#ifndef EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_
#define EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_

// What a vision model computes, as data: from one description follow its
// parameters, how they begin, and the forward pass of models/torch. Pure
// functions, thread-safe.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/model_file.h"

namespace edgetune {

// One layer; what has no meaning for its kind is 0.
struct VisionLayer {
  enum class Kind {
    kConvolution,  // square kernel, stride 1, zeros around
    kLinear,
    kRelu,
    kMaxPool,  // squares of `kernel`, beside each other
    kFlatten,  // [C,H,W] to a vector
    kDropout,  // in training: 0 with probability `rate`, else / (1 - rate)
  };
  Kind kind;
  std::string name = {};    // its state in PyTorch is name + ".weight", ".bias"
  int64_t in = 0, out = 0;  // channels, or features
  int64_t kernel = 0, padding = 0;
  double rate = 0;

  bool has_parameters() const { return !name.empty(); }
  // Inputs, outputs that one value meets: channels times kernel squared.
  int64_t fan_in() const { return in * (kernel == 0 ? 1 : kernel * kernel); }
  int64_t fan_out() const { return out * (kernel == 0 ? 1 : kernel * kernel); }
};

struct VisionNetwork {
  // How weights begin. kDefault: uniform in +-1/sqrt(fan_in), as PyTorch's
  // layers do (He et al. 2015 with a = sqrt 5). kGlorot: in +-sqrt(6 / (fan_in
  // + fan_out)) (Glorot, Bengio 2010). Biases begin as with kDefault.
  enum class Law { kDefault, kGlorot };
  std::vector<VisionLayer> layers;
  Law law = Law::kDefault;
};

// Of McMahan et al. 2017, "Communication-efficient learning of deep networks
// from decentralized data", section 3: "mcmahan_2nn" (two hidden layers of 200)
// and "mcmahan_cnn" (two 5x5 convolutions that keep the size, each halved by
// pooling, 512 hidden). Of pfl-research's CIFAR10 benchmark: "pfl_cnn" (two 3x3
// convolutions without padding, one pooling, dropout, 128 hidden).
std::vector<std::string> VisionArchitectures();

// config.architecture for config.image and config.vocab classes.
// InvalidArgument: not one of these, an image too small for it, no or more than
// 2^20 classes, a side above 4096.
absl::StatusOr<VisionNetwork> NetworkOf(const ModelConfig& config);

// All parameters: layer by layer, weight [out,in] or [out,in,k,k], then bias.
absl::StatusOr<ParameterLayout> LayoutOf(const VisionNetwork& network);

// A function of network and seed alone: each tensor has a stream of its own.
ParameterVector InitialWeights(const VisionNetwork& network, uint64_t seed);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_VISION_VISION_NETWORK_H_
