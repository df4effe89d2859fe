#include "models/torch/lora.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/status.h"

namespace edgetune {

std::map<std::string, at::Tensor> LoraFactors::TrainedLeaves(
    const ParameterLayout& layout) const {
  std::map<std::string, at::Tensor> leaves;
  for (const auto& tensor : layout.tensors()) {
    const auto cut = [&](const at::Tensor& flat) {
      return flat
          .narrow(0, static_cast<int64_t>(tensor.offset),
                  static_cast<int64_t>(tensor.count))
          .view(tensor.shape)
          .detach();
    };
    at::Tensor& leaf = leaves[tensor.name];
    leaf = cut(values_);
    leaf.set_requires_grad(true);
    leaf.mutable_grad() = cut(gradient_);
  }
  return leaves;
}

absl::StatusOr<LoraFactors> LoraFactors::Make(const ModelConfig& model,
                                              const Adapter& adapter,
                                              std::optional<Factors> trained) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(model, adapter));
  LoraFactors factors;
  const ParameterLayout layout = trained.has_value()
                                     ? LayoutOf(adapter.layout, *trained)
                                     : ParameterLayout();
  const auto n = static_cast<int64_t>(layout.size());
  factors.values_ = at::zeros({n}, at::kFloat);
  factors.gradient_ = at::zeros({n}, at::kFloat);
  std::map<std::string, at::Tensor> leaves = factors.TrainedLeaves(layout);
  for (const auto& tensor : adapter.layout.tensors()) {
    at::Tensor& leaf = leaves[tensor.name];
    if (!leaf.defined()) leaf = at::empty(tensor.shape, at::kFloat);
    std::copy_n(adapter.values.data() + tensor.offset, tensor.count,
                leaf.data_ptr<float>());
  }
  const auto leaf = [&](const std::string& name) {
    const auto found = leaves.find(name);
    return found == leaves.end() ? at::Tensor() : found->second;
  };
  factors.factors_.resize(static_cast<size_t>(model.layers));
  for (size_t i = 0; i < factors.factors_.size(); ++i) {
    for (size_t j = 0; j < kLinears; ++j) {
      const std::string module =
          fmt::format("layers.{}.{}.{}", i, j < kGate ? "self_attn" : "mlp",
                      LoraTargets()[j]);
      factors.factors_[i][j] = {leaf(module + ".lora_A"),
                                leaf(module + ".lora_B"),
                                adapter.spec.Of(module).scale()};
    }
  }
  return factors;
}

}  // namespace edgetune
