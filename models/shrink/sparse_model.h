#ifndef EDGETUNE_MODELS_SHRINK_SPARSE_MODEL_H_
#define EDGETUNE_MODELS_SHRINK_SPARSE_MODEL_H_

#include <memory>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "models/shrink/importance.h"
#include "models/shrink/sparsity.h"
#include "models/shrink/weight_reader.h"

namespace edgetune {

// `model`, a model of texts, with the least important weights of its linears
// zero (embedding, head, norms and biases stay whole). A weight counts |w|, or
// |w| * ||x|| where `norms` are known; of equal ones the first in the order of
// tensors, rows and columns goes first, so that the number of zeros is exact.
// Computed as it is read, with one row more in memory: where weights compete
// beyond their row, what is kept of the search is one threshold a matrix, found
// here by reading those weights three times (a histogram of the upper half of
// their bits, one of the lower, the ties). Tensors of blocks are of type "F32"
// here, since not every type of block can say zero. `model` must
// outlive the result, which is immutable and thread-safe. InvalidArgument:
// errors of CheckSparsity and CheckInputNorms; a pattern (kUsage) that does not
// divide a row; errors of the progress.
absl::StatusOr<std::unique_ptr<ModelFile>> MakeSparseModel(
    const ModelFile& model, const Sparsity& sparsity, InputNorms norms,
    ReadProgress progress = {});

// Values in all linears: what `sparsity` is about.
uint64_t SparseValuesOf(const ModelConfig& config);
// How many of them it makes zero.
uint64_t ZerosOf(const ModelConfig& config, const Sparsity& sparsity);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SPARSE_MODEL_H_
