#ifndef EDGETUNE_TRAINING_TORCH_PACKED_TARGETS_H_
#define EDGETUNE_TRAINING_TORCH_PACKED_TARGETS_H_

// Torch-only header: included by torch .cc files alone.

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "training/local_training.h"

namespace edgetune {

// Texts one after the other as Llama takes them, the rows that a loss is taken
// on, and the token that follows each. Borrows the examples' tokens. N rows.
struct PackedTargets {
  std::vector<std::span<const int32_t>> sequences;
  at::Tensor rows, next;  // [N] int64

  explicit PackedTargets(ExampleBatch examples) {
    for (const LabelledTokens* example : examples) {
      sequences.push_back(example->tokens);
    }
    std::vector<int64_t> at_rows, tokens;
    ForTargets(examples, [&](size_t row, int32_t token) {
      at_rows.push_back(static_cast<int64_t>(row));
      tokens.push_back(token);
    });
    rows = at::tensor(at_rows, at::kLong);
    next = at::tensor(tokens, at::kLong);
  }
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_TORCH_PACKED_TARGETS_H_
