#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/atomic_directory.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/adapter_formats.h"
#include "models/io/safetensors.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kNamePrefix = "base_model.model.model.";
constexpr std::string_view kNameSuffix = ".weight";
constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";
constexpr char kProvenanceFile[] = "edgetune_provenance.json";
constexpr uint64_t kMaxConfig = 1 << 20;

template <typename Json>
std::string Dump(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ConfigText(const Adapter& adapter, const std::string& base_name) {
  ordered_json config;
  config["peft_type"] = "LORA";
  config["task_type"] = "CAUSAL_LM";
  config["base_model_name_or_path"] = base_name;
  config["revision"] = nullptr;
  config["r"] = adapter.spec.rank;
  // PEFT's field is an integer; a fraction is kept where there is one.
  const double alpha = adapter.spec.alpha;
  if (alpha == std::floor(alpha) && alpha < 0x1p53) {
    config["lora_alpha"] = static_cast<int64_t>(alpha);
  } else {
    config["lora_alpha"] = alpha;
  }
  config["lora_dropout"] = 0.0;
  config["target_modules"] = adapter.spec.targets;
  config["bias"] = "none";
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  config["init_lora_weights"] = true;
  config["modules_to_save"] = nullptr;
  config["rank_pattern"] = ordered_json::object();
  config["alpha_pattern"] = ordered_json::object();
  config["use_rslora"] = false;
  config["use_dora"] = false;
  return Dump(config);
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

bool IsUnset(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

// Features that would need more than A and B of one rank and scale.
absl::Status RefuseVariants(const json& config) {
  for (const char* key :
       {"use_dora", "lora_bias", "modules_to_save", "fan_in_fan_out",
        "rank_pattern", "alpha_pattern", "target_parameters",
        "trainable_token_indices", "layer_replication",
        "alora_invocation_tokens", "use_qalora"}) {
    if (config.contains(key) && !IsUnset(config[key])) {
      return absl::InvalidArgumentError(
          fmt::format("{} uses {}, which is not supported", kConfigFile, key));
    }
  }
  if (config.contains("bias") && config["bias"] != "none") {
    return absl::InvalidArgumentError(
        fmt::format("{} trains biases, which is not supported", kConfigFile));
  }
  // Some initialisations change the base weights too.
  const json init = config.value("init_lora_weights", json(true));
  if (!init.is_boolean() && init != "gaussian" && init != "eva" &&
      init != "orthogonal") {
    return absl::InvalidArgumentError(
        fmt::format("{} says init_lora_weights {}, which changes the base "
                    "model and is not supported",
                    kConfigFile, init.dump()));
  }
  return absl::OkStatus();
}

// Rank and alpha; targets as far as the configuration lists them.
absl::StatusOr<AdapterSpec> ReadSpec(const json& config) {
  if (!config.is_object() || config.value("peft_type", json()) != "LORA") {
    return absl::InvalidArgumentError(
        fmt::format("{} is not of peft_type LORA", kConfigFile));
  }
  EDGETUNE_RETURN_IF_ERROR(RefuseVariants(config));
  const json rank = config.value("r", json());
  const json alpha = config.value("lora_alpha", json());
  if (!rank.is_number_unsigned() || rank.get<uint64_t>() < 1 ||
      rank.get<uint64_t>() > (1u << 20) || !alpha.is_number()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has r {} and lora_alpha {}, wanted two positive "
                    "numbers",
                    kConfigFile, rank.dump(), alpha.dump()));
  }
  AdapterSpec spec;
  spec.rank = rank.get<int64_t>();
  spec.alpha = alpha.get<double>();
  const json rslora = config.value("use_rslora", json(false));
  if (rslora == true) spec.alpha *= std::sqrt(static_cast<double>(spec.rank));
  const json targets = config.value("target_modules", json());
  for (const json& target : targets.is_array() ? targets : json::array()) {
    if (target.is_string()) spec.targets.push_back(target.get<std::string>());
  }
  return spec;
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

}  // namespace

absl::Status WritePeftAdapter(const std::string& directory,
                              const Adapter& adapter,
                              const std::string& base_name,
                              const Provenance& provenance) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter));
  EDGETUNE_ASSIGN_OR_RETURN(std::string weights, WeightsText(adapter));
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write(kConfigFile, ConfigText(adapter, base_name)));
  EDGETUNE_RETURN_IF_ERROR(out->Write(kWeightsFile, weights));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write("README.md", ReadmeText(adapter, base_name, provenance)));
  EDGETUNE_RETURN_IF_ERROR(
      out->Write(kProvenanceFile, Dump(ordered_json(provenance))));
  return out->Commit();
}

absl::StatusOr<Adapter> ReadPeftAdapter(const std::string& directory,
                                        const ModelConfig& model) {
  const std::string weights = directory + "/" + kWeightsFile;
  std::error_code ignored;
  if (!std::filesystem::exists(weights, ignored) &&
      std::filesystem::exists(directory + "/adapter_model.bin", ignored)) {
    return absl::InvalidArgumentError(
        "adapter_model.bin is a pickle, which is never read; save the adapter "
        "as safetensors");
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      std::string text, ReadFile(directory + "/" + kConfigFile, kMaxConfig));
  EDGETUNE_ASSIGN_OR_RETURN(json config, ParseStrictJson(text, kConfigFile));
  EDGETUNE_ASSIGN_OR_RETURN(AdapterSpec spec, ReadSpec(config));
  EDGETUNE_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(weights));
  std::set<std::string> targets;
  EDGETUNE_ASSIGN_OR_RETURN(AdapterTensors tensors,
                            ReadTensors(*file, &targets));
  // PEFT ignores tensors of modules that its list does not name.
  const std::set<std::string> listed(spec.targets.begin(), spec.targets.end());
  if (!listed.empty() && listed != targets) {
    return absl::InvalidArgumentError(fmt::format(
        "{} lists target_modules {}, the tensors are of {}", kConfigFile,
        fmt::join(listed, ", "), fmt::join(targets, ", ")));
  }
  spec.targets.assign(targets.begin(), targets.end());
  return AssembleAdapter(model, std::move(spec), std::move(tensors));
}

}  // namespace edgetune
