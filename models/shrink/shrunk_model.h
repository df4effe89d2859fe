#ifndef EDGETUNE_MODELS_SHRINK_SHRUNK_MODEL_H_
#define EDGETUNE_MODELS_SHRINK_SHRUNK_MODEL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/shrink/kept_parts.h"

namespace edgetune {

// `model`, a model of texts, without what is not in `kept`: a smaller dense
// model of the same architecture, computed as it is read, with one row of the
// whole model in memory. Values of what stays are the model's own, bit for
// bit; a tensor of blocks that loses columns is of type "F32" here. `model`
// must outlive the result, which is immutable and thread-safe. InvalidArgument:
// errors of ConfigOfKept and KeepTokens.
absl::StatusOr<std::unique_ptr<ModelFile>> MakeShrunkModel(
    const ModelFile& model, const KeptParts& kept);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SHRUNK_MODEL_H_
