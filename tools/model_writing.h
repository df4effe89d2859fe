#ifndef EDGETUNE_TOOLS_MODEL_WRITING_H_
#define EDGETUNE_TOOLS_MODEL_WRITING_H_

// A model written to disk by a verb, with progress. Stateless.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_writer.h"
#include "tools/output.h"

namespace edgetune {

struct WrittenModel {
  uint64_t bytes = 0;  // of all files
  double seconds = 0;
};

// `out` must not be there yet (kUsage). Errors of WriteGgufModel, WriteHfModel.
absl::StatusOr<WrittenModel> WriteModel(const std::string& out,
                                        ModelFormat format,
                                        const ModelDescription& model,
                                        const TensorSource& source,
                                        const TensorEncoder& encoder,
                                        const Output& output);

// A type by name for MakePlainEncoder, or a mix of MakeQuantisingEncoder:
// "f32", "f16", "bf16", "q4_k_m", ...; empty: the plain one without a type.
// kUsage: unknown, or a mix for a Hugging Face directory.
absl::StatusOr<std::unique_ptr<TensorEncoder>> MakeEncoder(
    const std::string& type, ModelFormat format, const TensorSource& source,
    const ModelConfig& model);
// For help texts.
std::string PlainTypeNames();
std::string MixNames();

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_WRITING_H_
