#ifndef EDGETUNE_MODELS_TORCH_LORA_H_
#define EDGETUNE_MODELS_TORCH_LORA_H_

// Torch-only header: included by torch .cc files alone.

#include <ATen/ATen.h>

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/factors.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"

namespace edgetune {

// The seven linears of a block, in the order of LoraTargets().
enum Linear : size_t { kQ, kK, kV, kO, kGate, kUp, kDown, kLinears };

// The low-rank factors of one adapter (Hu et al., 2021): W x becomes W x +
// scale B A x. Those that are trained are views of one flat buffer in layout
// order, and so are their gradients: what autograd accumulates is the gradient
// vector. r rank, n trained coordinates. Used by one thread at a time.
class LoraFactors {
 public:
  struct Factor {
    at::Tensor a, b;  // a [r,in], b [out,r] float32; undefined: no LoRA here
    double scale = 0;
  };

  // The `trained` factors require a gradient, which starts at zero.
  static absl::StatusOr<LoraFactors> Make(const ModelConfig& model,
                                          const Adapter& adapter,
                                          std::optional<Factors> trained);

  const Factor& at(size_t layer, Linear linear) const {
    return factors_[layer][linear];
  }
  float* values() { return values_.data_ptr<float>(); }      // n
  float* gradient() { return gradient_.data_ptr<float>(); }  // n
  size_t size() const { return static_cast<size_t>(values_.numel()); }

 private:
  // Views of values_ and gradient_ for the tensors of `layout`, by name.
  std::map<std::string, at::Tensor> TrainedLeaves(
      const ParameterLayout& layout) const;

  at::Tensor values_, gradient_;  // [n] float32
  std::vector<std::array<Factor, kLinears>> factors_;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_LORA_H_
