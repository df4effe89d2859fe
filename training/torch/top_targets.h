#ifndef EDGETUNE_TRAINING_TORCH_TOP_TARGETS_H_
#define EDGETUNE_TRAINING_TORCH_TOP_TARGETS_H_

// Torch-only header: included by torch .cc files alone.

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>

#include "models/torch/shrink/distillation_loss.h"
#include "training/distillation/targets.h"
#include "training/local_training.h"

namespace edgetune {

// What a teacher says at the n labelled positions of a batch.
inline TopTargets TopTargetsOf(const TargetRows& rows, ExampleBatch examples,
                               int64_t n) {
  const int64_t k = rows.targets().k();
  TopTargets out = {at::empty({n, k}, at::kLong), at::empty({n, k}, at::kFloat),
                    at::empty({n}, at::kFloat)};
  int64_t* ids = out.ids.data_ptr<int64_t>();
  float* values = out.values.data_ptr<float>();
  float* rest = out.rest.data_ptr<float>();
  rows.ForRows(examples, [&](const TopTokens& row) {
    ids = std::copy(row.ids.begin(), row.ids.end(), ids);
    values = std::copy(row.log_probabilities.begin(),
                       row.log_probabilities.end(), values);
    *rest++ = row.log_rest;
  });
  return out;
}

// The part of a Trainer's loss that DistillationWeights says, for examples with
// targets.
inline DistillationWeights WeightsOf(const TargetRows& rows, double alpha) {
  return {.temperature = rows.targets().temperature(), .alpha = alpha};
}

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_TOP_TARGETS_H_
