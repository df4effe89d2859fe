#ifndef EDGETUNE_MODELS_IO_QUANTISE_QUANTISING_ENCODER_H_
#define EDGETUNE_MODELS_IO_QUANTISE_QUANTISING_ENCODER_H_

// Quantised GGUF models: which matrix gets which type, as llama.cpp's own
// quantiser decides for dense llama and qwen2 models (llama-quant.cpp).

#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "models/io/model_writer.h"

namespace edgetune {

enum class SensitiveLayers {
  kNone,
  // Value projections of the first four layers, down projections of the first
  // eighth.
  kFirst,
  // Both, in the first and the last eighth and every third layer between.
  kSpread,
};

// Vectors (norms, biases) stay F32 in every mix.
struct QuantisationMix {
  std::string_view name;
  uint32_t file_type;  // general.file_type
  BlockType matrix;    // all that nothing below concerns
  BlockType head;      // the output matrix, or the embedding that serves as it
  BlockType sensitive;
  SensitiveLayers layers;
};

// q8_0, q4_0, q4_1, q5_0, q5_1, q4_k_s, q4_k_m, q5_k_s, q5_k_m, q6_k.
std::span<const QuantisationMix> QuantisationMixes();

// Each type is replaced by TypeForColumns where a row is no whole number of its
// blocks. InvalidArgument (kUsage): no mix of that name.
absl::StatusOr<std::unique_ptr<TensorEncoder>> MakeQuantisingEncoder(
    std::string_view mix, const ModelConfig& model);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_QUANTISE_QUANTISING_ENCODER_H_
