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

#include "base/factors.h"
#include "base/parameters.h"

namespace edgetune {

// The slice, from 0, of each coordinate of `layout`.
std::vector<uint32_t> SlicesOf(const ParameterLayout& layout);

// How many slices the modules of `layout` have.
int64_t SliceCount(const ParameterLayout& layout);

// The same modules with the first `rank` slices, at least 1.
ParameterLayout LayoutOfRank(const ParameterLayout& layout, int64_t rank);
// Of `values`, laid out by `layout`, those of the first `rank` slices in the
// order of LayoutOfRank.
ParameterVector FirstSlices(std::span<const float> values,
                            const ParameterLayout& layout, int64_t rank);
// Where those stand in the whole: Gather of them is FirstSlices.
std::vector<CoordinateRange> SliceRanges(const ParameterLayout& layout,
                                         int64_t rank);
// Of `values` all but slices `begin` to `end` - 1, in the order of the layout
// of the rank that is left.
ParameterVector WithoutSlices(std::span<const float> values,
                              const ParameterLayout& layout, int64_t begin,
                              int64_t end);
// `first` has the first `rank` slices, `rest` the others: the whole.
ParameterVector JoinSlices(std::span<const float> first,
                           std::span<const float> rest,
                           const ParameterLayout& layout, int64_t rank);
// The other way: `first` has those of LayoutOfRank, the rest is zero.
ParameterVector PadSlices(std::span<const float> first,
                          const ParameterLayout& layout, int64_t rank);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_RANK_SLICES_H_
