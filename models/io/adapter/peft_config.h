#ifndef EDGETUNE_MODELS_IO_ADAPTER_PEFT_CONFIG_H_
#define EDGETUNE_MODELS_IO_ADAPTER_PEFT_CONFIG_H_

// adapter_config.json of a PEFT adapter (formats design, section 6). Only for
// peft_adapter.cc.

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune {

inline constexpr char kPeftConfigFile[] = "adapter_config.json";

// A name of rank_pattern or alpha_pattern. PEFT takes regular expressions; read
// here are names of letters, digits, "_" and "-", in which "." stands for any
// character and "\." for a dot, after an optional "^". Of several that match,
// the first counts.
struct PeftPattern {
  std::string name;
  double value = 0;
};

// A plain value.
struct PeftConfig {
  int64_t rank = 0;
  double alpha = 0;
  bool rank_stabilised = false;  // scales by alpha / sqrt(rank)
  std::vector<PeftPattern> ranks, alphas;
  std::set<std::string> targets;  // empty where they are an expression

  // Of a module that no pattern names, and of "layers.3.self_attn.q_proj".
  LoraShape usual() const;
  LoraShape Of(const std::string& module) const;
};

// InvalidArgument: not LoRA, or what needs more than A and B (DoRA, biases,
// saved modules, ...) by name, a pattern that is not read; DataLoss: not JSON.
absl::StatusOr<PeftConfig> ReadPeftConfig(std::string_view text);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_ADAPTER_PEFT_CONFIG_H_
