#ifndef EDGETUNE_MODELS_TORCH_LANGUAGE_MODEL_TORCH_H_
#define EDGETUNE_MODELS_TORCH_LANGUAGE_MODEL_TORCH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/language_model.h"

namespace edgetune {

struct TorchModelOptions {
  bool bf16 = false;  // linears in bfloat16, else float32
  int threads = 0;    // 0: as ThreadCount says
};

// True where the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX).
bool CpuMultipliesBf16();

// The reference LanguageModel: scores and generates with Llama over LibTorch.
// Holds its own copy of the de-quantised weights, and `model`.
absl::StatusOr<std::unique_ptr<LanguageModel>> MakeTorchLanguageModel(
    std::shared_ptr<const ModelFile> model, const TorchModelOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_LANGUAGE_MODEL_TORCH_H_
