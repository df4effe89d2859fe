#ifndef EDGETUNE_BASE_INITIAL_FACTORS_H_
#define EDGETUNE_BASE_INITIAL_FACTORS_H_

#include <cstdint>

#include "base/parameters.h"

namespace edgetune {

// What LoRA factors begin with (Hu et al., 2021): A ~ U(-1/sqrt(in),
// 1/sqrt(in)) (PEFT's kaiming_uniform(a=sqrt 5)), B = 0, and 0 for all that is
// neither. A function of layout, seed and `draw` alone: 0 is what a run begins
// with, r what round r does under a rule that begins anew in each. Pure,
// thread-safe.
ParameterVector InitialFactors(const ParameterLayout& layout, uint64_t seed,
                               uint64_t draw);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_INITIAL_FACTORS_H_
