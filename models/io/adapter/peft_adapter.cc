#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/atomic_directory.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/adapter/adapter_formats.h"
#include "models/io/adapter/peft_config.h"
#include "models/io/hf/safetensors.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kNamePrefix = "base_model.model.model.";
constexpr std::string_view kNameSuffix = ".weight";
constexpr char kAdapterWeightsFile[] = "adapter_model.safetensors";

// PEFT's alphas are integers; a fraction is kept where there is one.
ordered_json Number(double alpha) {
  if (alpha == std::floor(alpha) && alpha < 0x1p53) {
    return static_cast<int64_t>(alpha);
  }
  return alpha;
}

std::string ConfigText(const Adapter& adapter, const std::string& base_name) {
  ordered_json config;
  config["peft_type"] = "LORA";
  config["task_type"] = "CAUSAL_LM";
  config["base_model_name_or_path"] = base_name;
  config["revision"] = nullptr;
  config["r"] = adapter.spec.rank;
  config["lora_alpha"] = Number(adapter.spec.alpha);
  config["lora_dropout"] = 0.0;
  config["target_modules"] = adapter.spec.targets;
  config["bias"] = "none";
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  config["init_lora_weights"] = true;
  config["modules_to_save"] = nullptr;
  config["rank_pattern"] = ordered_json::object();
  config["alpha_pattern"] = ordered_json::object();
  for (const auto& [module, lora] : adapter.spec.exceptions) {
    if (lora.rank != adapter.spec.rank) {
      config["rank_pattern"][module] = lora.rank;
    }
    if (lora.alpha != adapter.spec.alpha) {
      config["alpha_pattern"][module] = Number(lora.alpha);
    }
  }
  config["use_rslora"] = false;
  config["use_dora"] = false;
  return JsonFileText(config);
}

std::string ReadmeText(const Adapter& adapter, const std::string& base_name,
                       const Provenance& provenance) {
  std::string out = fmt::format(
      "---\nlibrary_name: peft\n---\n\n# LoRA adapter\n\nFor the base model "
      "`{}`: rank {}, alpha {}, on {}.\n",
      base_name, adapter.spec.rank, adapter.spec.alpha,
      fmt::join(adapter.spec.targets, ", "));
  out +=
      "\n```python\nfrom peft import PeftModel\n\n"
      "model = PeftModel.from_pretrained(base_model, \"<this directory>\")\n"
      "```\n";
  if (!provenance.empty()) out += "\n## Provenance\n\n";
  for (const auto& [key, value] : provenance) {
    out += fmt::format("- {}: {}\n", key, value);
  }
  return out;
}

absl::StatusOr<std::string> WeightsText(const Adapter& adapter) {
  std::vector<SafeTensor> tensors;
  for (const ParameterLayout::Tensor& tensor : adapter.layout.tensors()) {
    const auto* begin =
        reinterpret_cast<const uint8_t*>(adapter.values.data() + tensor.offset);
    tensors.push_back(
        {fmt::format("{}{}{}", kNamePrefix, tensor.name, kNameSuffix), "F32",
         tensor.shape, std::span(begin, tensor.count * sizeof(float))});
  }
  return SerialiseSafetensors(tensors);
}

absl::StatusOr<AdapterTensors> ReadTensors(const SafetensorsFile& file,
                                           std::set<std::string>* targets) {
  AdapterTensors out;
  for (const SafeTensor& tensor : file.tensors()) {
    std::string_view name = tensor.name;
    if (!name.starts_with(kNamePrefix) || !name.ends_with(kNameSuffix)) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is not named {}layers...{}", name, kNamePrefix,
                      kNameSuffix));
    }
    name.remove_prefix(kNamePrefix.size());
    name.remove_suffix(kNameSuffix.size());
    EDGETUNE_ASSIGN_OR_RETURN(auto values, ReadFloats(tensor));
    const std::string_view module = name.substr(0, name.rfind('.'));
    targets->insert(std::string(module.substr(module.rfind('.') + 1)));
    out[std::string(name)] = {tensor.shape, std::move(values)};
  }
  return out;
}

// Of every module that has an A; the configuration's own are the adapter's.
void AddShapes(const PeftConfig& config, const AdapterTensors& tensors,
               AdapterSpec& spec) {
  const LoraShape usual = config.usual();
  spec.rank = usual.rank;
  spec.alpha = usual.alpha;
  constexpr std::string_view kSuffix = ".lora_A";
  for (const auto& [name, tensor] : tensors) {
    if (!name.ends_with(kSuffix)) continue;
    const std::string module = name.substr(0, name.size() - kSuffix.size());
    const LoraShape shape = config.Of(module);
    if (shape != usual) spec.exceptions[module] = shape;
  }
}

}  // namespace

absl::Status WritePeftAdapter(const std::string& directory,
                              const Adapter& adapter,
                              const std::string& base_name,
                              const Provenance& provenance) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter));
  EDGETUNE_ASSIGN_OR_RETURN(std::string weights, WeightsText(adapter));
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write(kPeftConfigFile, ConfigText(adapter, base_name)));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kAdapterWeightsFile, weights));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write("README.md", ReadmeText(adapter, base_name, provenance)));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write(kProvenanceFile, JsonFileText(ordered_json(provenance))));
  return out->Commit();
}

absl::StatusOr<Adapter> ReadPeftAdapter(const std::string& directory,
                                        const ModelConfig& model) {
  const std::string weights = directory + "/" + kAdapterWeightsFile;
  std::error_code ignored;
  if (!std::filesystem::exists(weights, ignored) &&
      std::filesystem::exists(directory + "/adapter_model.bin", ignored)) {
    return absl::InvalidArgumentError(
        "adapter_model.bin is a pickle, which is never read; save the adapter "
        "as safetensors");
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      std::string text,
      ReadFile(directory + "/" + kPeftConfigFile, kMaxConfig));
  EDGETUNE_ASSIGN_OR_RETURN(const PeftConfig config, ReadPeftConfig(text));
  EDGETUNE_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(weights));
  std::set<std::string> targets;
  EDGETUNE_ASSIGN_OR_RETURN(AdapterTensors tensors,
                            ReadTensors(*file, &targets));
  // PEFT ignores tensors of modules that its list does not name.
  if (!config.targets.empty() && config.targets != targets) {
    return absl::InvalidArgumentError(fmt::format(
        "{} lists target_modules {}, the tensors are of {}", kPeftConfigFile,
        fmt::join(config.targets, ", "), fmt::join(targets, ", ")));
  }
  AdapterSpec spec;
  spec.targets.assign(targets.begin(), targets.end());
  AddShapes(config, tensors, spec);
  return AssembleAdapter(model, std::move(spec), std::move(tensors));
}

}  // namespace edgetune
