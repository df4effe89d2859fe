#ifndef EDGETUNE_BASE_FACTORS_H_
#define EDGETUNE_BASE_FACTORS_H_

// Parts of an adapter: which LoRA factors a round trains and sends, and where
// their coordinates stand in the whole. Pure functions, thread-safe.

#include <cstddef>
#include <span>
#include <vector>

#include "base/parameters.h"

namespace edgetune {

// The factors of a LoRA adapter: W becomes W + s B A (Hu et al., 2021), or W +
// s B R A with a core R between them (models/io/adapter/core_adapter.h).
enum class Factors { kBoth, kA, kB, kCore };

// A piece of an update in the adapter: coordinate update_offset + i of the one
// is coordinate adapter_offset + i of the other, for i < count.
struct CoordinateRange {
  size_t adapter_offset = 0;
  size_t update_offset = 0;
  size_t count = 0;
  bool operator==(const CoordinateRange&) const = default;
};

// The tensors of `adapter` whose names end in "lora_A" (kA), in "lora_B" (kB),
// in "lora_R" (kCore), or all of them (kBoth), in the adapter's order.
ParameterLayout LayoutOf(const ParameterLayout& adapter, Factors factors);
// Where the coordinates of LayoutOf stand in `adapter`: rising, without gaps in
// the update, neighbours joined (kBoth: one range).
std::vector<CoordinateRange> RangesOf(const ParameterLayout& adapter,
                                      Factors factors);

// The coordinates of `adapter` in these ranges, in the order of the update.
// Here and in Scatter every range must lie within both vectors.
ParameterVector Gather(std::span<const float> adapter,
                       std::span<const CoordinateRange> ranges);
// Writes `update` where Gather takes it from; the rest stays.
void Scatter(std::span<const float> update,
             std::span<const CoordinateRange> ranges, std::span<float> adapter);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_FACTORS_H_
