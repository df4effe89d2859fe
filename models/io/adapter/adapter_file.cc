#include "models/io/adapter/adapter_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/initial_factors.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "models/io/adapter/adapter_formats.h"
#include "models/io/llama_names.h"
#include "models/io/vision/vision_network.h"

namespace edgetune {
namespace {

// Which of kLlamaLinears are trained. InvalidArgument as AdapterLayoutOf.
absl::StatusOr<std::vector<bool>> ChosenTargets(const AdapterSpec& spec) {
  if (spec.targets.empty()) {
    return absl::InvalidArgumentError("an adapter needs at least one target");
  }
  std::vector<bool> chosen(LoraTargets().size());
  for (const std::string& target : spec.targets) {
    const auto it =
        std::find(LoraTargets().begin(), LoraTargets().end(), target);
    if (it == LoraTargets().end()) {
      return absl::InvalidArgumentError(
          fmt::format("LoRA target '{}' is not known; q_proj, k_proj, v_proj, "
                      "o_proj, gate_proj, up_proj and down_proj are",
                      target));
    }
    const size_t index = it - LoraTargets().begin();
    if (chosen[index]) {
      return absl::InvalidArgumentError(
          fmt::format("LoRA target {} is named twice", target));
    }
    chosen[index] = true;
  }
  return chosen;
}

absl::Status CheckLora(const LoraShape& lora, const std::string& module,
                       const LinearShape& shape) {
  if (!std::isfinite(lora.alpha) || lora.alpha <= 0) {
    return absl::InvalidArgumentError(
        fmt::format("LoRA alpha is {} for {}, wanted a positive number",
                    lora.alpha, module));
  }
  if (lora.rank >= 1 && lora.rank <= std::min(shape.in, shape.out)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("LoRA rank is {}, wanted 1 to {} for {} [{},{}]", lora.rank,
                  std::min(shape.in, shape.out), module, shape.out, shape.in));
}

// Of a model of images: all of its parameters, or those of some parts.
absl::StatusOr<ParameterLayout> FullLayoutOf(const ModelConfig& model,
                                             const AdapterSpec& spec) {
  if (spec.rank != 0 || !spec.exceptions.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is a model of images, whose parameters are trained as they are, "
        "with rank 0",
        model.architecture));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const VisionNetwork network, NetworkOf(model));
  EDGETUNE_ASSIGN_OR_RETURN(ParameterLayout layout, LayoutOf(network));
  if (spec.targets.empty()) return layout;
  auto parts = PartsOf(layout, spec.targets);
  return parts.ok() ? std::move(parts)
                    : Prefix(parts.status(), model.architecture);
}

}  // namespace

std::span<const std::string> LoraTargets() {
  static const auto& targets = *[] {
    auto* out = new std::vector<std::string>();
    for (const LlamaLinear& linear : kLlamaLinears) {
      out->push_back(linear.target);
    }
    return out;
  }();
  return targets;
}

LoraShape AdapterSpec::Of(const std::string& module) const {
  const auto exception = exceptions.find(module);
  return exception == exceptions.end() ? LoraShape{rank, alpha}
                                       : exception->second;
}

absl::StatusOr<ParameterLayout> AdapterLayoutOf(const ModelConfig& model,
                                                const AdapterSpec& spec) {
  if (model.image.has_value()) return FullLayoutOf(model, spec);
  EDGETUNE_ASSIGN_OR_RETURN(auto chosen, ChosenTargets(spec));
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  size_t exceptions = 0;
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i]) continue;
      const LinearShape shape = LlamaLinearShape(model, i);
      const std::string module =
          fmt::format("layers.{}.{}", layer, kLlamaLinears[i].module);
      const LoraShape lora = spec.Of(module);
      EDGETUNE_RETURN_IF_ERROR(CheckLora(lora, module, shape));
      exceptions += spec.exceptions.count(module);
      tensors.push_back({module + ".lora_A", {lora.rank, shape.in}});
      tensors.push_back({module + ".lora_B", {shape.out, lora.rank}});
    }
  }
  if (exceptions != spec.exceptions.size()) {
    return absl::InvalidArgumentError(
        "a rank or alpha is given for a module that the adapter does not "
        "train");
  }
  return ParameterLayout::Make(std::move(tensors));
}

Adapter WithRank(const Adapter& adapter, int64_t rank) {
  return WithoutSlices(adapter, rank, adapter.spec.rank);
}

Adapter WithoutSlices(const Adapter& adapter, int64_t begin, int64_t end) {
  const int64_t rank = adapter.spec.rank - (end - begin);
  Adapter part{adapter.spec, LayoutOfRank(adapter.layout, rank),
               WithoutSlices(adapter.values, adapter.layout, begin, end)};
  part.spec.alpha *=
      static_cast<double>(rank) / static_cast<double>(adapter.spec.rank);
  part.spec.rank = rank;
  return part;
}

AdapterSpec WithMoreRank(AdapterSpec spec, int64_t more) {
  const int64_t rank = spec.rank + more;
  spec.alpha *= static_cast<double>(rank) / static_cast<double>(spec.rank);
  spec.rank = rank;
  return spec;
}

ParameterVector InitialAdapter(const ParameterLayout& layout, uint64_t seed) {
  return InitialFactors(layout, seed, 0);
}

absl::StatusOr<Adapter> AssembleAdapter(const ModelConfig& model,
                                        AdapterSpec spec,
                                        AdapterTensors tensors) {
  // In the order of LoraTargets, whatever order the names came in.
  const std::vector<std::string> found = std::move(spec.targets);
  spec.targets.clear();
  for (const std::string& target : LoraTargets()) {
    if (std::find(found.begin(), found.end(), target) != found.end()) {
      spec.targets.push_back(target);
    }
  }
  Adapter adapter;
  EDGETUNE_ASSIGN_OR_RETURN(adapter.layout, AdapterLayoutOf(model, spec));
  adapter.values.resize(adapter.layout.size());
  for (const ParameterLayout::Tensor& tensor : adapter.layout.tensors()) {
    auto it = tensors.find(tensor.name);
    if (it == tensors.end()) {
      return absl::InvalidArgumentError(
          fmt::format("adapter tensor {} is missing", tensor.name));
    }
    if (it->second.shape != tensor.shape) {
      return absl::InvalidArgumentError(fmt::format(
          "adapter tensor {} has shape [{}], wanted [{}]", tensor.name,
          fmt::join(it->second.shape, ","), fmt::join(tensor.shape, ",")));
    }
    for (float value : it->second.values) {
      if (std::isfinite(value)) continue;
      return absl::DataLossError(fmt::format(
          "adapter tensor {} holds a value that is not finite", tensor.name));
    }
    std::copy(it->second.values.begin(), it->second.values.end(),
              adapter.values.begin() + static_cast<ptrdiff_t>(tensor.offset));
    tensors.erase(it);
  }
  if (!tensors.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("adapter tensor {} does not belong to the model",
                    tensors.begin()->first));
  }
  adapter.spec = std::move(spec);
  return adapter;
}

absl::Status CheckAdapter(const Adapter& adapter) {
  if (adapter.values.size() != adapter.layout.size() ||
      adapter.values.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("adapter has {} values, its layout {}",
                    adapter.values.size(), adapter.layout.size()));
  }
  return absl::OkStatus();
}

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

absl::StatusOr<Adapter> ReadAdapter(const std::string& path,
                                    const ModelConfig& model) {
  std::error_code ignored;
  auto adapter = std::filesystem::is_directory(path, ignored)
                     ? ReadPeftAdapter(path, model)
                     : ReadGgufAdapter(path, model);
  if (adapter.ok()) return adapter;
  return Annotate(Prefix(adapter.status(), fmt::format("adapter {}", path)),
                  ErrorKind::kModel,
                  "use a LoRA adapter of this base model: a PEFT directory or "
                  "a llama.cpp GGUF");
}

}  // namespace edgetune
