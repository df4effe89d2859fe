#ifndef EDGETUNE_MODELS_IO_ADAPTER_MERGED_MODEL_H_
#define EDGETUNE_MODELS_IO_ADAPTER_MERGED_MODEL_H_

#include <memory>

#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"

namespace edgetune {

// The tensors of `model` with `adapter` added in float32: W + scale B A, row by
// row (Hu et al. 2022, section 4.1). All else as the model's file says; a
// tensor the adapter trains is of type "F32" here. `adapter` was read against
// this model's configuration; both must outlive the result.
std::unique_ptr<TensorSource> MakeMergedSource(const ModelFile& model,
                                               const Adapter& adapter);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_ADAPTER_MERGED_MODEL_H_
