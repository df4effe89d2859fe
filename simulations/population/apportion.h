#ifndef EDGETUNE_SIMULATIONS_POPULATION_APPORTION_H_
#define EDGETUNE_SIMULATIONS_POPULATION_APPORTION_H_

#include <cstddef>
#include <span>
#include <vector>

namespace edgetune {

// Cuts `total` into whole parts in proportion to the weights: the whole parts
// of each quota, and what is left to the largest fractions (Hamilton's method),
// equal ones in order. A part below `at_least` is raised to it, one by one from
// the largest. They sum to `total`. Stateless. Weights are above 0 and finite;
// total >= at_least for each.
std::vector<size_t> Apportion(size_t total, std::span<const double> weights,
                              size_t at_least);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_APPORTION_H_
