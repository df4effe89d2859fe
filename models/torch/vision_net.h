#ifndef EDGETUNE_MODELS_TORCH_VISION_NET_H_
#define EDGETUNE_MODELS_TORCH_VISION_NET_H_

// Torch-only header: included by torch .cc files alone.

#include <ATen/ATen.h>

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {

// A vision network with weights of its own: those of its base plus what an
// adapter adds. Those that the adapter has are views of one flat buffer in its
// layout's order, and so are their gradients: what autograd accumulates is the
// gradient vector. The others are frozen: autograd begins at the first trained
// one. n trained parameters; N images [C,H,W]; K classes. The statistics that
// batch norm divides by are the base's and stay so. Always float32. One thread
// at a time.
class VisionNet {
 public:
  // `base`, `statistics`: all weights of the model, and what it normalises by.
  // InvalidArgument: another layout than the model's.
  static absl::StatusOr<VisionNet> Make(const ModelConfig& model,
                                        std::span<const float> base,
                                        std::span<const float> statistics,
                                        const Adapter& adapter);

  // Logits [N,K]; differentiable in the weights when grad mode is on. Dropout
  // and stochastic depth draw from `random`; without, as when the model is
  // used, nothing is dropped.
  at::Tensor Logits(const at::Tensor& images,  // [N,C,H,W]
                    c10::optional<at::Generator> random) const;

  std::span<float> values() { return {values_.data_ptr<float>(), size()}; }
  std::span<float> gradient() { return {gradient_.data_ptr<float>(), size()}; }
  size_t size() const { return static_cast<size_t>(values_.numel()); }  // n

 private:
  // Tensors that the layer does not have are undefined.
  struct Layer {
    VisionLayer what;           // without its parts
    at::Tensor weight, bias;    // of what.shape(); [out]
    at::Tensor mean, variance;  // [out]
    std::vector<std::vector<Layer>> parts;
  };
  class Loader;

  static at::Tensor Forward(const std::vector<Layer>& layers, at::Tensor x,
                            const c10::optional<at::Generator>& random);
  static at::Tensor Apply(const Layer& layer, const at::Tensor& x,
                          const c10::optional<at::Generator>& random);

  at::Tensor values_, gradient_;  // [n]
  at::Tensor weights_;            // of the whole network, where some are frozen
  at::Tensor statistics_;
  std::vector<Layer> layers_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_VISION_NET_H_
