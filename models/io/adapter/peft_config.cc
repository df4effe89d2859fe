#include "models/io/adapter/peft_config.h"

#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/status.h"
#include "models/io/strict_json.h"

namespace edgetune {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kLargestRank = 1 << 20;

bool IsUnset(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

// Features that would need more than A and B.
absl::Status RefuseVariants(const json& config) {
  for (const char* key :
       {"use_dora", "lora_bias", "modules_to_save", "fan_in_fan_out",
        "target_parameters", "trainable_token_indices", "layer_replication",
        "alora_invocation_tokens", "use_qalora"}) {
    if (config.contains(key) && !IsUnset(config[key])) {
      return absl::InvalidArgumentError(fmt::format(
          "{} uses {}, which is not supported", kPeftConfigFile, key));
    }
  }
  if (config.contains("bias") && config["bias"] != "none") {
    return absl::InvalidArgumentError(fmt::format(
        "{} trains biases, which is not supported", kPeftConfigFile));
  }
  // Some initialisations change the base weights too.
  const json init = config.value("init_lora_weights", json(true));
  if (!init.is_boolean() && init != "gaussian" && init != "eva" &&
      init != "orthogonal") {
    return absl::InvalidArgumentError(
        fmt::format("{} says init_lora_weights {}, which changes the base "
                    "model and is not supported",
                    kPeftConfigFile, init.dump()));
  }
  return absl::OkStatus();
}

bool IsPlain(std::string_view name) {
  if (name.starts_with('^')) name.remove_prefix(1);
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool escaped = c == '\\' && name.substr(i + 1, 1) == ".";
    if (escaped) ++i;
    if (!escaped && std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        c != '_' && c != '-' && c != '.') {
      return false;
    }
  }
  return !name.empty();
}

// The expression (.*\.)?(name)$ on a module's name below the model.
bool Matches(std::string_view name, std::string_view module) {
  const bool anchored = name.starts_with('^');
  if (anchored) name.remove_prefix(1);
  size_t at = module.size();
  for (size_t i = name.size(); i-- > 0;) {
    if (at == 0) return false;
    const char c = module[--at];
    if (name[i] != '.') {
      if (c != name[i]) return false;
    } else if (i > 0 && name[i - 1] == '\\') {
      if (c != '.') return false;
      --i;
    }
  }
  return at == 0 || (!anchored && module[at - 1] == '.');
}

absl::StatusOr<std::vector<PeftPattern>> ReadPatterns(
    const ordered_json& config, const char* key, double largest) {
  std::vector<PeftPattern> patterns;
  const ordered_json entries = config.value(key, ordered_json::object());
  if (entries.is_null()) return patterns;
  for (const auto& [name, value] : entries.items()) {
    if (!IsPlain(name)) {
      return absl::InvalidArgumentError(
          fmt::format("{} has the regular expression \"{}\" in {}; only plain "
                      "names of modules are read",
                      kPeftConfigFile, name, key));
    }
    if (!value.is_number() || !(value.get<double>() > 0) ||
        value.get<double>() > largest) {
      return absl::InvalidArgumentError(
          fmt::format("{} has {} for \"{}\" in {}, wanted a positive number",
                      kPeftConfigFile, value.dump(), name, key));
    }
    patterns.push_back({name, value.get<double>()});
  }
  return patterns;
}

const PeftPattern* Find(const std::vector<PeftPattern>& patterns,
                        const std::string& module) {
  for (const PeftPattern& pattern : patterns) {
    if (Matches(pattern.name, "model." + module)) return &pattern;
  }
  return nullptr;
}

LoraShape ShapeOf(const PeftConfig& config, int64_t rank, double alpha) {
  if (config.rank_stabilised) alpha *= std::sqrt(static_cast<double>(rank));
  return {rank, alpha};
}

}  // namespace

LoraShape PeftConfig::usual() const { return ShapeOf(*this, rank, alpha); }

LoraShape PeftConfig::Of(const std::string& module) const {
  const PeftPattern* own_rank = Find(ranks, module);
  const PeftPattern* own_alpha = Find(alphas, module);
  return ShapeOf(
      *this, own_rank == nullptr ? rank : static_cast<int64_t>(own_rank->value),
      own_alpha == nullptr ? alpha : own_alpha->value);
}

absl::StatusOr<PeftConfig> ReadPeftConfig(std::string_view text) {
  EDGETUNE_ASSIGN_OR_RETURN(const json config,
                            ParseStrictJson(text, kPeftConfigFile));
  if (!config.is_object() || config.value("peft_type", json()) != "LORA") {
    return absl::InvalidArgumentError(
        fmt::format("{} is not of peft_type LORA", kPeftConfigFile));
  }
  EDGETUNE_RETURN_IF_ERROR(RefuseVariants(config));
  const json rank = config.value("r", json());
  const json alpha = config.value("lora_alpha", json());
  if (!rank.is_number_unsigned() || rank.get<uint64_t>() < 1 ||
      rank.get<uint64_t>() > kLargestRank || !alpha.is_number()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has r {} and lora_alpha {}, wanted two positive "
                    "numbers",
                    kPeftConfigFile, rank.dump(), alpha.dump()));
  }
  PeftConfig read;
  read.rank = rank.get<int64_t>();
  read.alpha = alpha.get<double>();
  read.rank_stabilised = config.value("use_rslora", json(false)) == true;
  // Read again, because the order of patterns counts.
  const ordered_json ordered = ordered_json::parse(text);
  EDGETUNE_ASSIGN_OR_RETURN(
      read.ranks, ReadPatterns(ordered, "rank_pattern", kLargestRank));
  EDGETUNE_ASSIGN_OR_RETURN(read.alphas,
                            ReadPatterns(ordered, "alpha_pattern", 1e30));
  const json targets = config.value("target_modules", json());
  for (const json& target : targets.is_array() ? targets : json::array()) {
    if (target.is_string()) read.targets.insert(target.get<std::string>());
  }
  return read;
}

}  // namespace edgetune
