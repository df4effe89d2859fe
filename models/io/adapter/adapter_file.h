#ifndef EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FILE_H_
#define EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FILE_H_

// LoRA adapters as other tools keep them: a PEFT directory and a llama.cpp
// GGUF (formats design, section 6). In memory an adapter is a flat vector in
// the order of AdapterLayoutOf: layer by layer, target by target in the order
// of kLoraTargets, A then B; A [r, in], B [out, r], Hugging Face row order.
// Tensor names: "layers.{i}.self_attn.q_proj.lora_A" and so on.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/model_file.h"

namespace edgetune {

// q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.
std::span<const std::string> LoraTargets();

struct LoraShape {
  int64_t rank = 0;
  double alpha = 0;
  double scale() const { return alpha / static_cast<double>(rank); }
  bool operator==(const LoraShape&) const = default;
};

// Of a model of images the rank is 0: its parameters are trained as they are
// (lora.rule "full"), all of them or those of the parts that targets name, the
// layout is that of its network or a part of it (PartsOf), and the values are
// what is added to its weights. Only the functions up to CheckAdapter take such
// an adapter; files have another form (models/io/vision).
//
// Scales are always alpha / rank: a rank-stabilised adapter (Kalajdzievski
// 2023), which scales by alpha / sqrt(rank), has its alphas multiplied by
// sqrt(rank) when it is read.
struct AdapterSpec {
  int64_t rank = 0;
  double alpha = 0;
  // Subset of LoraTargets, or parts of a model of images; any order.
  std::vector<std::string> targets = {};
  // Modules of another rank or alpha, e.g. "layers.3.self_attn.q_proj".
  std::map<std::string, LoraShape> exceptions = {};

  LoraShape Of(const std::string& module) const;
};

// InvalidArgument: a model of images with a rank, or a part that it does not
// have; a rank < 1 or larger than a target's smaller side, unknown, repeated or
// no target, an alpha not positive and finite, an exception for a module that
// is not trained.
absl::StatusOr<ParameterLayout> AdapterLayoutOf(const ModelConfig& model,
                                                const AdapterSpec& spec);

// InitialFactors' first (base/initial_factors.h).
ParameterVector InitialAdapter(const ParameterLayout& layout, uint64_t seed);

struct Adapter {
  AdapterSpec spec;
  ParameterLayout layout;
  ParameterVector values;
};

// The first rank slices of an adapter, scaled as the whole is: alpha falls with
// the rank.
Adapter WithRank(const Adapter& adapter, int64_t rank);
// All but slices `begin` to `end` - 1, scaled likewise.
Adapter WithoutSlices(const Adapter& adapter, int64_t begin, int64_t end);

// `more` slices besides, of the same scale.
AdapterSpec WithMoreRank(AdapterSpec spec, int64_t more);

// OK when `adapter` has the layout of its own spec on this model and that
// many values; else InvalidArgument (kModel).
absl::Status CheckAdapter(const ModelConfig& model, const Adapter& adapter);

// What travels beside an adapter: written to edgetune_provenance.json (and
// a README.md) in the PEFT directory. Values are shown as they are.
inline constexpr char kProvenanceFile[] = "edgetune_provenance.json";
using Provenance = std::map<std::string, std::string>;

// Writes adapter_config.json, adapter_model.safetensors, README.md and
// edgetune_provenance.json. The directory appears whole or not at all;
// AlreadyExists when something else is there.
absl::Status WritePeftAdapter(const std::string& directory,
                              const Adapter& adapter,
                              const std::string& base_name,
                              const Provenance& provenance);
// One llama.cpp LoRA file (F32); rows of B of q and k permuted for "llama".
absl::Status WriteGgufAdapter(const std::string& path, const Adapter& adapter,
                              const ModelConfig& model,
                              const std::string& base_name);

// Reads either form (a directory, or a file that begins with "GGUF") and
// checks it against the model: names, shapes, finite values. InvalidArgument
// or DataLoss, kModel.
absl::StatusOr<Adapter> ReadAdapter(const std::string& path,
                                    const ModelConfig& model);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_ADAPTER_ADAPTER_FILE_H_
