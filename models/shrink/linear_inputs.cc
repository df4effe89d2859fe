#include "models/shrink/linear_inputs.h"

#include <fmt/format.h>

namespace edgetune {

std::span<const InputReaders> AllInputReaders() {
  static const auto& all =
      *new std::vector<InputReaders>{{LayerInput::kQkv, {0, 1, 2}},
                                     {LayerInput::kOut, {3}},
                                     {LayerInput::kGateUp, {4, 5}},
                                     {LayerInput::kDown, {6}}};
  return all;
}

int64_t InputWidth(const ModelConfig& config, LayerInput place) {
  if (place == LayerInput::kOut) return config.heads * config.head_dim;
  return place == LayerInput::kDown ? config.ffn : config.hidden;
}

absl::Status CheckObserved(const ModelConfig& config,
                           const ObservedInput& seen) {
  const int64_t last =
      config.layers - (seen.place == LayerInput::kLayer ? 0 : 1);
  if (seen.layer >= 0 && seen.layer <= last &&
      seen.width == InputWidth(config, seen.place) &&
      seen.rows.size() % static_cast<size_t>(seen.width) == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} values in rows of {} at layer {}: the model has no such input",
      seen.rows.size(), seen.width, seen.layer));
}

}  // namespace edgetune
