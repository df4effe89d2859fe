#ifndef EDGETUNE_MODELS_IO_HF_HF_CONFIG_H_
#define EDGETUNE_MODELS_IO_HF_HF_CONFIG_H_

// config.json of a Hugging Face model directory, read and written (formats
// design, section 2). Only for hf_model_file.cc,
// hf_model_writer.cc and ../text_weights.cc.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

struct HfConfig {
  ModelConfig model;  // end_tokens as the file lists them
  int32_t bos = -1, padding = -1;
};

// DataLoss: not JSON, a key twice. InvalidArgument: a key is missing, absurd,
// or names something that is not supported.
absl::StatusOr<HfConfig> ParseHfConfig(std::string_view text);

// What transformers of any version reads. `dtype` is "float32", "float16" or
// "bfloat16". InvalidArgument: rotary divisors that no parameters describe.
absl::StatusOr<std::string> HfConfigText(const ModelConfig& model,
                                         const TokenizerData& tokenizer,
                                         std::string_view dtype);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_HF_HF_CONFIG_H_
