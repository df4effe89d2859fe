#include "aggregation/sliced_product.h"

#include <utility>

#include "base/rank_slices.h"

namespace edgetune {

SlicedLayout::SlicedLayout(ParameterLayout of)
    : layout(std::move(of)),
      slices(SlicesOf(layout)),
      rank(static_cast<uint32_t>(SliceCount(layout))) {}

ModuleShape ShapeOf(const SlicedLayout& sliced, size_t module) {
  const ParameterLayout::Tensor& a = sliced.layout.tensors()[2 * module];
  const ParameterLayout::Tensor& b = sliced.layout.tensors()[2 * module + 1];
  return {.out = static_cast<size_t>(b.shape[0]),
          .in = static_cast<size_t>(a.shape[1]),
          .rank = sliced.rank};
}

LoraProduct ProductOf(const SlicedLayout& sliced, size_t module,
                      std::span<const float> base,
                      std::span<const float> change, int64_t rank,
                      double share) {
  const auto part = [&](size_t t) {
    const ParameterLayout::Tensor& tensor = sliced.layout.tensors()[t];
    ParameterVector values;
    for (size_t i = tensor.offset; i < tensor.offset + tensor.count; ++i) {
      if (sliced.slices[i] < rank) values.push_back(base[i] + change[i]);
    }
    return values;
  };
  return {part(2 * module), part(2 * module + 1), static_cast<size_t>(rank),
          share};
}

LoraProduct ProductOf(const SlicedLayout& sliced, size_t module,
                      std::span<const float> values, double share) {
  const auto part = [&](size_t t) {
    const ParameterLayout::Tensor& tensor = sliced.layout.tensors()[t];
    const auto of = values.subspan(tensor.offset, tensor.count);
    return ParameterVector(of.begin(), of.end());
  };
  return {part(2 * module), part(2 * module + 1), sliced.rank, share};
}

}  // namespace edgetune
