#ifndef EDGETUNE_MODELS_SHRINK_BLOCK_TENSORS_H_
#define EDGETUNE_MODELS_SHRINK_BLOCK_TENSORS_H_

#include <cstdint>

#include "models/io/tensor_source.h"

namespace edgetune {

// Whether a tensor lies in its file as blocks of a quantised type.
inline bool IsOfBlocks(const TensorInfo& info) {
  return info.type.starts_with('Q');
}

// What its values are once they are computed, one by one.
inline void ShowAsFloats(TensorInfo* info) {
  info->type = "F32";
  info->bytes =
      static_cast<uint64_t>(info->rows() * info->columns()) * sizeof(float);
}

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_BLOCK_TENSORS_H_
