#ifndef EDGETUNE_MODELS_SHRINK_LINEAR_INPUTS_H_
#define EDGETUNE_MODELS_SHRINK_LINEAR_INPUTS_H_

// Which linears read what a Calibrator shows. Stateless.

#include <cstdint>
#include <span>
#include <vector>

#include "models/calibrator.h"
#include "models/io/model_file.h"

namespace edgetune {

// Every place that linears read, and these by their number in kLlamaLinears.
struct InputReaders {
  LayerInput place;
  std::vector<size_t> linears;
};
std::span<const InputReaders> AllInputReaders();

int64_t InputWidth(const ModelConfig& config, LayerInput place);

// InvalidArgument: a layer or width that the model does not have.
absl::Status CheckObserved(const ModelConfig& config,
                           const ObservedInput& seen);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_LINEAR_INPUTS_H_
