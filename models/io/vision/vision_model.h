#ifndef EDGETUNE_MODELS_IO_VISION_VISION_MODEL_H_
#define EDGETUNE_MODELS_IO_VISION_VISION_MODEL_H_

// A vision model on disk: a directory of config.json (vision_config.h) and
// model.safetensors, whose tensors have the names and shapes of PyTorch's state
// (LayoutOf and StatisticsOf of the network; F32, F16 or BF16). PyTorch's
// counters "num_batches_tracked" may stand there; they are not looked at, and
// written as 0. Thread-safe.

#include <map>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/parameters.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"

namespace edgetune {

// Whether this is a directory whose config.json names one architecture, as
// those of no language model do.
bool IsVisionModel(const std::string& path);

// Opened, mapped and checked. The model has neither tokenizer nor chat
// template: nobody may ask for them. Errors as of ModelFile::Open.
absl::StatusOr<std::unique_ptr<ModelFile>> OpenVisionModel(
    const std::string& directory);

// Writes such a directory, in float32, `values` and `statistics` in the order
// of their layouts, and edgetune_provenance.json where there is something to
// tell. It appears whole or not at all; AlreadyExists when something else is
// there.
absl::Status WriteVisionModel(
    const std::string& directory, const ModelConfig& config,
    std::span<const float> values,
    const std::map<std::string, std::string>& provenance,
    std::span<const float> statistics = {});

// All weights of a vision model, and all statistics, in the order of their
// layouts.
absl::StatusOr<ParameterVector> ReadVisionWeights(const ModelFile& model);
absl::StatusOr<ParameterVector> ReadVisionStatistics(const ModelFile& model);

// Adds what `adapter` changes to all weights of its model. InvalidArgument
// (kModel): another layout than its spec gives on this model.
absl::Status AddChange(const ModelConfig& model, const Adapter& adapter,
                       std::span<float> weights);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_VISION_VISION_MODEL_H_
