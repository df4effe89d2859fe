#ifndef EDGETUNE_TOOLS_MODEL_MODEL_WRITING_H_
#define EDGETUNE_TOOLS_MODEL_MODEL_WRITING_H_

// A model written to disk by a verb, with progress; Ctrl-C ends it and leaves
// nothing behind. Stateless.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "models/io/model_writer.h"
#include "tools/output.h"

namespace edgetune {

struct ModelTarget {
  std::string path;  // must not be there yet (kUsage)
  ModelFormat format = ModelFormat::kGguf;
  uint64_t shard_bytes = WriteOptions().shard_bytes;
  std::string provenance = {};  // as of WriteOptions
};

struct WrittenModel {
  size_t files = 0;
  uint64_t bytes = 0;
  std::string digest;  // as plans name it, hexadecimal
  double seconds = 0;
};

// Errors of WriteGgufModel and WriteHfModel, kModel; Cancelled.
absl::StatusOr<WrittenModel> WriteModel(const ModelTarget& target,
                                        const ModelDescription& model,
                                        const TensorSource& source,
                                        const TensorEncoder& encoder,
                                        const Output& output);

// A type of MakePlainEncoder or a mix of MakeQuantisingEncoder by name; empty:
// the plain one without a type. kUsage: unknown, or a mix for a Hugging Face
// directory.
absl::StatusOr<std::unique_ptr<TensorEncoder>> MakeEncoder(
    const std::string& type, ModelFormat format, const TensorSource& source,
    const ModelConfig& model);
// "hf" or "gguf".
ModelFormat ModelFormatOf(const std::string& name);
// For help texts.
std::string PlainTypeNames();
std::string MixNames();

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_MODEL_WRITING_H_
