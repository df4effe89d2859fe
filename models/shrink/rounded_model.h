#ifndef EDGETUNE_MODELS_SHRINK_ROUNDED_MODEL_H_
#define EDGETUNE_MODELS_SHRINK_ROUNDED_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/io/quantise/block_types.h"

namespace edgetune {

// A tensor's rows in blocks, Hugging Face's order.
struct RoundedTensor {
  BlockType type = BlockType::kF32;
  std::vector<uint8_t> bytes;
};

// `model` with some of its matrices as these blocks say, in memory: whoever
// writes it in the same type writes the blocks themselves. `model` must outlive
// the result, which is immutable and thread-safe. InvalidArgument: a tensor
// that the model does not have, or bytes that are not its rows.
absl::StatusOr<std::unique_ptr<ModelFile>> MakeRoundedModel(
    const ModelFile& model, std::map<std::string, RoundedTensor> rounded);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_ROUNDED_MODEL_H_
