#ifndef EDGETUNE_MODELS_FUSED_CALIBRATOR_FUSED_H_
#define EDGETUNE_MODELS_FUSED_CALIBRATOR_FUSED_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/calibrator.h"
#include "models/fused/llama.h"
#include "models/io/model_file.h"

namespace edgetune {

// The Calibrator over fused::Llama. Values are as the engine has them, rounded
// to bfloat16 where its products are. Holds `model`. threads 0: all cores.
absl::StatusOr<std::unique_ptr<Calibrator>> MakeFusedCalibrator(
    std::shared_ptr<const ModelFile> model,
    const fused::Llama::Options& options, int threads);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_FUSED_CALIBRATOR_FUSED_H_
