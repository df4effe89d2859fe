#ifndef EDGETUNE_TESTS_SIMULATIONS_POPULATION_VECTORS_H_
#define EDGETUNE_TESTS_SIMULATIONS_POPULATION_VECTORS_H_

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace edgetune::testing {

// A file of vectors/, made by the scripts beside it.
inline nlohmann::json ReadVectors(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(
      EDGETUNE_SOURCE_DIR "/tests/simulations_population/vectors/" + name));
}

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_POPULATION_VECTORS_H_
