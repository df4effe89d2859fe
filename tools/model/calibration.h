#ifndef EDGETUNE_TOOLS_MODEL_CALIBRATION_H_
#define EDGETUNE_TOOLS_MODEL_CALIBRATION_H_

// What examples say of a model's tokens and weights. Stateless.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/calibrator.h"
#include "models/io/model_file.h"
#include "models/shrink/shrink_plan.h"
#include "tools/output.h"

namespace edgetune {

// How often each token comes in the examples of a file or directory. Errors of
// ReadTextDataSet.
absl::StatusOr<std::vector<int64_t>> CountTokens(const std::string& path,
                                                 const ModelFile& model);

// The first examples of a file or directory that make up so many tokens. Errors
// of ReadTextDataSet.
absl::StatusOr<std::vector<std::vector<int32_t>>> FirstTexts(
    const std::string& path, int64_t tokens, const ModelFile& model);

// The fused engine's, in float32: what is decided with it does not depend on
// what a processor is fast at.
absl::StatusOr<std::unique_ptr<Calibrator>> MakeExactCalibrator(
    const std::shared_ptr<const ModelFile>& model);

// What that shows while it reads the first examples that make up so many
// tokens, with progress. Errors of ReadTextDataSet, of the engine and of
// InputStatistics; Cancelled by Ctrl-C.
absl::StatusOr<ShrinkEvidence> Calibrate(
    const std::string& path, int64_t tokens,
    const std::shared_ptr<const ModelFile>& model, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_CALIBRATION_H_
