#ifndef EDGETUNE_MODELS_FUSED_LOSS_OF_LOGITS_H_
#define EDGETUNE_MODELS_FUSED_LOSS_OF_LOGITS_H_

#include <cstddef>
#include <functional>

#include "models/fused/kernels.h"

namespace edgetune::fused {

// A loss other than the labels' cross entropy: given the logits after the i-th
// labelled row and those behind it, some at a time and in order [n,V], it
// returns the sum of their losses, and leaves in each logit's place the
// gradient of that sum.
using LossOfLogits = std::function<double(size_t i, const Rows<float>& logits)>;

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_LOSS_OF_LOGITS_H_
