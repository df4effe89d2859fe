#ifndef EDGETUNE_MODELS_FUSED_LANGUAGE_MODEL_FUSED_H_
#define EDGETUNE_MODELS_FUSED_LANGUAGE_MODEL_FUSED_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/fused/llama.h"
#include "models/io/model_file.h"
#include "models/language_model.h"

namespace edgetune {

// The fast LanguageModel: scores and generates with fused::Llama, without
// LibTorch. Holds `model`. threads 0: all cores.
absl::StatusOr<std::unique_ptr<LanguageModel>> MakeFusedLanguageModel(
    std::shared_ptr<const ModelFile> model,
    const fused::Llama::Options& options, int threads);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_FUSED_LANGUAGE_MODEL_FUSED_H_
