#ifndef EDGETUNE_MODELS_IO_TEXT_WEIGHTS_H_
#define EDGETUNE_MODELS_IO_TEXT_WEIGHTS_H_

// All weights of a model of texts as one flat vector, for those who train every
// one of them: in the order of ForEachTensor (model_tensors.h), float32.
// Stateless.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/model_file.h"
#include "models/io/tensor_source.h"

namespace edgetune {

// Hugging Face names. InvalidArgument (kModel): of images, or sizes that no
// engine can run.
absl::StatusOr<ParameterLayout> TextLayoutOf(const ModelConfig& model);

// De-quantised. Errors of TextLayoutOf and ReadRows.
absl::StatusOr<ParameterVector> ReadTextWeights(const ModelFile& model);

// Weights that have learnt nothing, as `transformers` draws those of these
// architectures: matrices normal with deviation 0.02, norms 1, biases 0. A
// function of layout and seed.
ParameterVector InitialTextWeights(const ParameterLayout& layout,
                                   uint64_t seed);

// The other way: tensors for a writer (model_writer.h), each of type "F32".
// Borrows `values`, which are as many as `layout` has.
std::unique_ptr<TensorSource> MakeTextSource(const ParameterLayout& layout,
                                             std::span<const float> values);

// A Hugging Face config.json alone, of a model that has no weights yet.
// NotFound; InvalidArgument or DataLoss (kModel).
absl::StatusOr<ModelConfig> ReadTextConfig(const std::string& path);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_TEXT_WEIGHTS_H_
