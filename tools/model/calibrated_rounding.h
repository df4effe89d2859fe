#ifndef EDGETUNE_TOOLS_MODEL_CALIBRATED_ROUNDING_H_
#define EDGETUNE_TOOLS_MODEL_CALIBRATED_ROUNDING_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/io/model_writer.h"
#include "tools/output.h"

namespace edgetune {

// `model` with every linear that `encoder` makes blocks with levels of rounded
// so that its outputs on the first `tokens` tokens of some examples change
// least (models/shrink/compensated_rounding.h), in the fused engine's float32;
// with progress. The other tensors are the model's. Holds the rounded weights
// and, while it works, up to 512 MB of sums of input products (or those of one
// layer): the model reads the examples once for each part of its layers whose
// sums fit. `model` outlives the result. Errors of ReadTextDataSet, of the
// engine and of CompensatedRounding; Cancelled by Ctrl-C. Stateless.
absl::StatusOr<std::unique_ptr<ModelFile>> RoundByExamples(
    const std::shared_ptr<const ModelFile>& model, const TensorEncoder& encoder,
    const std::string& examples, int64_t tokens, const Output& output);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_CALIBRATED_ROUNDING_H_
