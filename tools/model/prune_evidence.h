#ifndef EDGETUNE_TOOLS_MODEL_PRUNE_EVIDENCE_H_
#define EDGETUNE_TOOLS_MODEL_PRUNE_EVIDENCE_H_

// What examples say of a model's tokens and weights, for `prune`. Stateless.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/shrink/shrink_plan.h"
#include "tools/output.h"

namespace edgetune {

// How often each token comes in the examples of a file or directory. Errors of
// ReadTextDataSet.
absl::StatusOr<std::vector<int64_t>> CountTokens(const std::string& path,
                                                 const ModelFile& model);

// What the fused engine shows while it reads the first examples that make up so
// many tokens, with progress; in float32, so that it does not depend on what a
// processor is fast at. Errors of ReadTextDataSet, of the engine and of
// InputStatistics; Cancelled by Ctrl-C.
absl::StatusOr<ShrinkEvidence> Calibrate(
    const std::string& path, int64_t tokens,
    const std::shared_ptr<const ModelFile>& model, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_PRUNE_EVIDENCE_H_
