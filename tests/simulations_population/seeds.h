#ifndef EDGETUNE_TESTS_SIMULATIONS_POPULATION_SEEDS_H_
#define EDGETUNE_TESTS_SIMULATIONS_POPULATION_SEEDS_H_

#include <cstdint>

namespace edgetune::testing {

// What a law promises holds whatever the seed is.
inline constexpr uint64_t kSeeds[] = {1, 22, 333, 4444, 55555};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_POPULATION_SEEDS_H_
