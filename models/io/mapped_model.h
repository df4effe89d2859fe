#ifndef EDGETUNE_MODELS_IO_MAPPED_MODEL_H_
#define EDGETUNE_MODELS_IO_MAPPED_MODEL_H_

// What both file formats come down to once their headers are read. Only for
// gguf_model_file.cc, hf_model_file.cc and model_file.cc.

#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/io/model_writer.h"
#include "models/io/quantise/block_types.h"

namespace edgetune {

struct StoredTensor {
  BlockType type;
  std::vector<int64_t> shape;     // row-major
  std::span<const uint8_t> data;  // of a MappedFile
};

struct MappedModelParts {
  ModelFormat format;  // whose names and row order `tensors` has
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  ChatTemplate chat_template;
  std::unordered_map<std::string, StoredTensor> tensors;  // by name in the file
  std::shared_ptr<const void> files;                      // own the data
};

// InvalidArgument: a tensor is missing, too many or of another shape.
absl::StatusOr<std::unique_ptr<ModelFile>> MakeMappedModel(
    MappedModelParts parts);

absl::StatusOr<std::unique_ptr<ModelFile>> OpenGgufModel(
    const std::string& path);
absl::StatusOr<std::unique_ptr<ModelFile>> OpenHfModel(
    const std::string& directory);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_MAPPED_MODEL_H_
