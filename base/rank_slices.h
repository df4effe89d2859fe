#ifndef EDGETUNE_BASE_RANK_SLICES_H_
#define EDGETUNE_BASE_RANK_SLICES_H_

// A LoRA adapter cut by rank: slice j is row j of every A [r, in] and column j
// of every B [out, r], so that B A is the sum of its slices' products. Layouts
// hold such factors only, of one rank r, whose names end in "lora_A" and
// "lora_B". Pure functions, thread-safe.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parameters.h"

namespace edgetune {

// The slice, from 0, of each coordinate of `layout`.
std::vector<uint32_t> SlicesOf(const ParameterLayout& layout);

// The same modules with the first `rank` slices, at least 1.
ParameterLayout LayoutOfRank(const ParameterLayout& layout, int64_t rank);
// Of `values`, laid out by `layout`, those of the first `rank` slices in the
// order of LayoutOfRank.
ParameterVector FirstSlices(std::span<const float> values,
                            const ParameterLayout& layout, int64_t rank);
// The other way: `first` has those of LayoutOfRank, the rest is zero.
ParameterVector PadSlices(std::span<const float> first,
                          const ParameterLayout& layout, int64_t rank);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_RANK_SLICES_H_
