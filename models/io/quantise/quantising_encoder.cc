#include "models/io/quantise/quantising_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "base/status.h"
#include "models/io/quantise/quantise.h"

namespace edgetune {
namespace {

using enum BlockType;
using enum SensitiveLayers;

constexpr QuantisationMix kMixes[] = {
    {"q8_0", 7, kQ8_0, kQ8_0, kQ8_0, kNone},
    {"q4_0", 2, kQ4_0, kQ6_K, kQ4_0, kNone},
    {"q4_1", 3, kQ4_1, kQ6_K, kQ4_1, kNone},
    {"q5_0", 8, kQ5_0, kQ6_K, kQ5_0, kNone},
    {"q5_1", 9, kQ5_1, kQ6_K, kQ5_1, kNone},
    {"q4_k_s", 14, kQ4_K, kQ6_K, kQ5_K, kFirst},
    {"q4_k_m", 15, kQ4_K, kQ6_K, kQ6_K, kSpread},
    {"q5_k_s", 16, kQ5_K, kQ6_K, kQ5_K, kNone},
    {"q5_k_m", 17, kQ5_K, kQ6_K, kQ6_K, kSpread},
    {"q6_k", 18, kQ6_K, kQ6_K, kQ6_K, kNone},
};

// Of "model.layers.N...."; -1 for other tensors.
int64_t LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  int64_t layer = -1;
  std::from_chars(name.data(), name.data() + name.size(), layer);
  return layer;
}

bool IsSpread(int64_t layer, int64_t layers) {
  const int64_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

class QuantisingEncoder final : public TensorEncoder {
 public:
  QuantisingEncoder(const QuantisationMix& mix, const ModelConfig& model)
      : mix_(mix), layers_(model.layers), tied_(model.tied) {}

  BlockType TypeOf(const TensorInfo& tensor) const override {
    if (tensor.shape.size() < 2) return kF32;
    return TypeForColumns(Wanted(tensor.name), tensor.columns());
  }

  absl::Status Encode(BlockType type, std::span<const float> values,
                      std::string* out) const override {
    for (const float value : values) {
      if (std::isfinite(value)) continue;
      return Annotate(absl::InvalidArgumentError("a value is not finite"),
                      ErrorKind::kModel,
                      "the model is damaged: quantise a sound one");
    }
    const BlockShape shape = BlockShapeOf(type);
    const size_t before = out->size();
    out->resize(before + values.size() / shape.elements * shape.bytes);
    Quantise(type, values,
             {reinterpret_cast<uint8_t*>(out->data()) + before,
              out->size() - before});
    return absl::OkStatus();
  }

  uint32_t file_type() const override { return mix_.file_type; }

 private:
  BlockType Wanted(std::string_view name) const {
    const char* head = tied_ ? "model.embed_tokens.weight" : "lm_head.weight";
    if (name == head) return mix_.head;
    const int64_t layer = LayerOf(name);
    const bool value = name.ends_with("self_attn.v_proj.weight");
    const bool down = name.ends_with("mlp.down_proj.weight");
    if (layer < 0 || !(value || down)) return mix_.matrix;
    const bool sensitive = mix_.layers == kSpread ? IsSpread(layer, layers_)
                           : mix_.layers == kFirst
                               ? layer < (value ? int64_t{4} : layers_ / 8)
                               : false;
    return sensitive ? mix_.sensitive : mix_.matrix;
  }

  const QuantisationMix& mix_;
  const int64_t layers_;
  const bool tied_;
};

}  // namespace

std::span<const QuantisationMix> QuantisationMixes() { return kMixes; }

absl::StatusOr<std::unique_ptr<TensorEncoder>> MakeQuantisingEncoder(
    std::string_view mix, const ModelConfig& model) {
  const auto found = std::ranges::find(kMixes, mix, &QuantisationMix::name);
  if (found != std::end(kMixes)) {
    return std::make_unique<QuantisingEncoder>(*found, model);
  }
  std::vector<std::string_view> names;
  for (const QuantisationMix& known : kMixes) names.push_back(known.name);
  return Annotate(absl::InvalidArgumentError(
                      fmt::format("no quantisation is called {}", mix)),
                  ErrorKind::kUsage,
                  fmt::format("take {}", fmt::join(names, ", ")));
}

}  // namespace edgetune
