#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/status.h"
#include "models/io/adapter/adapter_formats.h"
#include "models/io/gguf/gguf.h"
#include "models/io/llama_names.h"
#include "models/io/quantise/block_types.h"
#include "models/io/stored_rows.h"

namespace edgetune {
namespace {

// A tensor's place in the model, whichever way its name was spelt.
struct TensorPlace {
  std::string layer;
  const LlamaLinear* linear;
  bool is_a;
};

// `name` is prefix + layer + "." + what Spell makes of a linear + suffix.
template <typename Spell>
std::optional<TensorPlace> PlaceOf(std::string_view name,
                                   std::string_view prefix, Spell spell) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  if (dot == name.npos) return std::nullopt;
  for (const LlamaLinear& linear : kLlamaLinears) {
    for (bool is_a : {true, false}) {
      if (name.substr(dot + 1) == spell(linear, is_a)) {
        return TensorPlace{std::string(name.substr(0, dot)), &linear, is_a};
      }
    }
  }
  return std::nullopt;
}

std::string GgufSpelling(const LlamaLinear& linear, bool is_a) {
  return fmt::format("{}.weight.{}", linear.gguf, is_a ? "lora_a" : "lora_b");
}
std::string LayoutSpelling(const LlamaLinear& linear, bool is_a) {
  return fmt::format("{}.{}", linear.module, is_a ? "lora_A" : "lora_B");
}

// As AdapterSpec::Of wants it.
std::string ModuleOf(const TensorPlace& place) {
  return fmt::format("layers.{}.{}", place.layer, place.linear->module);
}

// Rows between the two orders; its own place for every other tensor.
std::vector<float> Permuted(std::span<const float> rows,
                            const TensorPlace& place, int64_t rank,
                            const ModelConfig& model, bool to_gguf) {
  std::vector<float> out(rows.begin(), rows.end());
  if (place.is_a || !place.linear->rotated || !PermutesRows(model)) return out;
  const int64_t count = static_cast<int64_t>(rows.size()) / rank;
  for (int64_t row = 0; row < count; ++row) {
    const int64_t other = GgufRowOf(row, model.head_dim);
    const int64_t from = to_gguf ? row : other;
    const int64_t to = to_gguf ? other : row;
    std::copy_n(rows.begin() + from * rank, rank, out.begin() + to * rank);
  }
  return out;
}

absl::Status CheckKind(const GgufFile& file, const ModelConfig& model) {
  const std::pair<const char*, std::string_view> wanted[] = {
      {"general.type", "adapter"},
      {"adapter.type", "lora"},
      {"general.architecture", model.architecture}};
  for (const auto& [key, value] : wanted) {
    EDGETUNE_ASSIGN_OR_RETURN(auto got, file.String(key));
    if (got != value) {
      return absl::InvalidArgumentError(
          fmt::format("GGUF key {} is '{}', wanted '{}'", key, got, value));
    }
  }
  if (file.Has("adapter.alora.invocation_tokens")) {
    return absl::InvalidArgumentError(
        "activated LoRA (adapter.alora) is not supported");
  }
  return absl::OkStatus();
}

// An A [r,in] or a B [out,r], with whole heads where rows are permuted.
absl::Status CheckShape(const GgufTensor& tensor, const TensorPlace& place,
                        const ModelConfig& model) {
  if (tensor.shape.size() != 2) {
    return absl::InvalidArgumentError(
        fmt::format("adapter tensor {} has {} dimensions, wanted 2",
                    tensor.name, tensor.shape.size()));
  }
  const bool permuted = place.linear->rotated && !place.is_a;
  if (permuted && tensor.shape[0] % model.head_dim != 0) {
    return absl::InvalidArgumentError(fmt::format(
        "adapter tensor {} has shape [{}], wanted whole heads of {}",
        tensor.name, fmt::join(tensor.shape, ","), model.head_dim));
  }
  return absl::OkStatus();
}

// 0: every scale is 1, whatever the rank.
absl::StatusOr<double> ReadAlpha(const GgufFile& file) {
  if (!file.Has("adapter.lora.alpha")) return 0;
  return file.Number("adapter.lora.alpha");
}

// The rank that most modules have is the adapter's, the larger one of equals.
void SetShapes(const std::map<std::string, int64_t>& ranks, double alpha,
               AdapterSpec& spec) {
  std::map<int64_t, size_t> modules;
  for (const auto& [module, rank] : ranks) ++modules[rank];
  size_t most = 0;
  for (const auto& [rank, count] : modules) {
    if (count >= most) spec.rank = rank;
    most = std::max(most, count);
  }
  const auto alpha_of = [&](int64_t rank) {
    return alpha == 0 ? static_cast<double>(rank) : alpha;
  };
  spec.alpha = alpha_of(spec.rank);
  for (const auto& [module, rank] : ranks) {
    if (rank != spec.rank) spec.exceptions[module] = {rank, alpha_of(rank)};
  }
}

}  // namespace

absl::Status WriteGgufAdapter(const std::string& path, const Adapter& adapter,
                              const ModelConfig& model,
                              const std::string& base_name) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter));
  GgufWriter writer;
  writer.Set("general.architecture", model.architecture);
  writer.Set("general.type", "adapter");
  writer.Set("adapter.type", "lora");
  writer.Set("general.file_type", uint32_t{0});
  writer.Set("adapter.lora.alpha", static_cast<float>(adapter.spec.alpha));
  writer.Set("general.base_model.count", uint32_t{1});
  writer.Set("general.base_model.0.name", base_name);
  for (const ParameterLayout::Tensor& tensor : adapter.layout.tensors()) {
    auto place = PlaceOf(tensor.name, "layers.", LayoutSpelling);
    if (!place.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("adapter tensor {} has no GGUF name", tensor.name));
    }
    const LoraShape lora = adapter.spec.Of(ModuleOf(*place));
    std::vector<float> values =
        Permuted(std::span(adapter.values).subspan(tensor.offset, tensor.count),
                 *place, lora.rank, model, true);
    // Readers scale by the one alpha over this tensor's own rank.
    if (!place->is_a && lora.alpha != adapter.spec.alpha) {
      const double factor = lora.alpha / adapter.spec.alpha;
      for (float& value : values) {
        value = static_cast<float>(value * factor);
      }
    }
    writer.AddTensor(fmt::format("blk.{}.{}", place->layer,
                                 GgufSpelling(*place->linear, place->is_a)),
                     tensor.shape, values);
  }
  return writer.Write(path);
}

absl::StatusOr<Adapter> ReadGgufAdapter(const std::string& path,
                                        const ModelConfig& model) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, GgufFile::Open(path));
  EDGETUNE_RETURN_IF_ERROR(CheckKind(*file, model));
  AdapterSpec spec;
  AdapterTensors tensors;
  std::set<std::string> targets;
  std::map<std::string, int64_t> ranks;  // by module
  for (const GgufTensor& tensor : file->tensors()) {
    auto place = PlaceOf(tensor.name, "blk.", GgufSpelling);
    if (!place.has_value()) {
      return absl::InvalidArgumentError(fmt::format(
          "adapter tensor {} is not of a LoRA target", tensor.name));
    }
    EDGETUNE_RETURN_IF_ERROR(CheckShape(tensor, *place, model));
    std::vector<float> values(
        static_cast<size_t>(tensor.shape[0] * tensor.shape[1]));
    Dequantise(tensor.type, tensor.data, values);
    targets.insert(place->linear->target);
    const int64_t rank = tensor.shape[place->is_a ? 0 : 1];
    if (place->is_a) ranks[ModuleOf(*place)] = rank;
    tensors[fmt::format("layers.{}.{}", place->layer,
                        LayoutSpelling(*place->linear, place->is_a))] = {
        tensor.shape, Permuted(values, *place, rank, model, false)};
  }
  spec.targets.assign(targets.begin(), targets.end());
  EDGETUNE_ASSIGN_OR_RETURN(const double alpha, ReadAlpha(*file));
  SetShapes(ranks, alpha, spec);
  return AssembleAdapter(model, std::move(spec), std::move(tensors));
}

}  // namespace edgetune
