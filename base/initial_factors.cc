#include "base/initial_factors.h"

#include <cmath>

#include "base/random.h"

namespace edgetune {

ParameterVector InitialFactors(const ParameterLayout& layout, uint64_t seed,
                               uint64_t draw) {
  const Random root(seed);
  ParameterVector values(layout.size());
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    if (!tensor.name.ends_with("lora_A")) continue;
    Random random = root.Split(tensor.name, draw);
    const double bound = 1 / std::sqrt(static_cast<double>(tensor.shape[1]));
    for (size_t i = 0; i < tensor.count; ++i) {
      values[tensor.offset + i] =
          static_cast<float>((2 * random.Uniform() - 1) * bound);
    }
  }
  return values;
}

}  // namespace edgetune
