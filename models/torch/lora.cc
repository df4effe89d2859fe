#include "models/torch/lora.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/status.h"

namespace edgetune {

absl::Status CheckAdapter(const ModelConfig& model, const Adapter& adapter) {
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout expected,
                            AdapterLayoutOf(model, adapter.spec));
  if (expected == adapter.layout && adapter.values.size() == expected.size()) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "the adapter does not fit the model: rank {} on {} linears needs {} "
          "tensors of {} values in all, got {} tensors and {} values",
          adapter.spec.rank, adapter.spec.targets.size(),
          expected.tensors().size(), expected.size(),
          adapter.layout.tensors().size(), adapter.values.size())),
      ErrorKind::kModel, "the adapter was trained on another base model");
}

absl::StatusOr<LoraFactors> LoraFactors::Make(const ModelConfig& model,
                                              const Adapter& adapter,
                                              bool trainable) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(model, adapter));
  LoraFactors factors;
  factors.scale_ = adapter.spec.alpha / static_cast<double>(adapter.spec.rank);
  const auto n = static_cast<int64_t>(adapter.values.size());
  factors.values_ = at::empty({n}, at::kFloat);
  std::copy(adapter.values.begin(), adapter.values.end(), factors.values());
  if (trainable) factors.gradient_ = at::zeros({n}, at::kFloat);

  std::map<std::string, const ParameterLayout::Tensor*> by_name;
  for (const auto& tensor : adapter.layout.tensors()) {
    by_name[tensor.name] = &tensor;
  }
  const auto view = [&](const std::string& name) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) return at::Tensor();
    const auto offset = static_cast<int64_t>(found->second->offset);
    const auto count = static_cast<int64_t>(found->second->count);
    const auto cut = [&](const at::Tensor& flat) {
      return flat.narrow(0, offset, count).view(found->second->shape).detach();
    };
    at::Tensor leaf = cut(factors.values_);
    if (trainable) {
      leaf.set_requires_grad(true);
      leaf.mutable_grad() = cut(factors.gradient_);
    }
    return leaf;
  };
  factors.factors_.resize(static_cast<size_t>(model.layers));
  for (size_t i = 0; i < factors.factors_.size(); ++i) {
    for (size_t j = 0; j < kLinears; ++j) {
      const std::string name =
          fmt::format("layers.{}.{}.{}.lora_", i,
                      j < kGate ? "self_attn" : "mlp", LoraTargets()[j]);
      factors.factors_[i][j] = {view(name + "A"), view(name + "B")};
    }
  }
  return factors;
}

}  // namespace edgetune
