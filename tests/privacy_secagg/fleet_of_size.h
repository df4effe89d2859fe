#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_OF_SIZE_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_OF_SIZE_H_

// Sessions of any number of members.

#include <map>

#include "tests/privacy_secagg/harness.h"

namespace edgetune::secagg {

// Made at the first call, and kept. Not thread-safe.
inline const Fleet& FleetOf(uint32_t n) {
  static auto* fleets = new std::map<uint32_t, Fleet>();
  return fleets->try_emplace(n, Fleet::Options{.size = n}).first->second;
}

inline Harness::Options Sized(uint32_t n, size_t coordinates, uint32_t seed) {
  Harness::Options options;
  options.n = n;
  options.shape = ShapeWithLanes(32, n, coordinates);
  options.seed = seed;
  return options;
}

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_OF_SIZE_H_
