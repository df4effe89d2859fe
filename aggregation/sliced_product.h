#ifndef EDGETUNE_AGGREGATION_SLICED_PRODUCT_H_
#define EDGETUNE_AGGREGATION_SLICED_PRODUCT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "aggregation/product_mean.h"
#include "base/parameters.h"

namespace edgetune {

// Modules A, B of a layout of one rank, as an adapter has them, and the rank
// slice of each coordinate (base/rank_slices.h).
struct SlicedLayout {
  explicit SlicedLayout(ParameterLayout of);
  size_t modules() const { return layout.tensors().size() / 2; }

  ParameterLayout layout;
  std::vector<uint32_t> slices;
  uint32_t rank = 0;
};

ModuleShape ShapeOf(const SlicedLayout& sliced, size_t module);

// The first `rank` slices of a module of base + change.
LoraProduct ProductOf(const SlicedLayout& sliced, size_t module,
                      std::span<const float> base,
                      std::span<const float> change, int64_t rank,
                      double share);
// All slices of one of `values`.
LoraProduct ProductOf(const SlicedLayout& sliced, size_t module,
                      std::span<const float> values, double share);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_SLICED_PRODUCT_H_
