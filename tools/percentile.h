#ifndef EDGETUNE_TOOLS_PERCENTILE_H_
#define EDGETUNE_TOOLS_PERCENTILE_H_

#include <algorithm>
#include <cstddef>
#include <vector>

namespace edgetune {

// The smallest of the sorted values at or below which `percent` of them lie, 0
// to 100: nearest rank, NumPy's percentile(method="inverted_cdf"). Always one
// of the values; T() of none.
template <typename T>
T Percentile(const std::vector<T>& sorted, int percent) {
  if (sorted.empty()) return T();
  const size_t rank = (sorted.size() * static_cast<size_t>(percent) + 99) / 100;
  return sorted[std::max<size_t>(rank, 1) - 1];
}

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_PERCENTILE_H_
