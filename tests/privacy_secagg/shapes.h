#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_SHAPES_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_SHAPES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "privacy/secagg/masked_vector.h"
#include "protos/masking.h"

namespace edgetune::secagg {

// Runs that the sanitizers slow down are a tenth as long there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr size_t kShorter = 10;
#else
inline constexpr size_t kShorter = 1;
#endif

inline constexpr uint32_t kRings[] = {16, 20, 24, 32};

inline MaskedShape ShapeOf(uint32_t bits, uint32_t n_max, size_t coordinates) {
  MaskedShape shape;
  shape.bits = bits;
  shape.n_max = n_max;
  shape.bound = 0.25;
  shape.coordinates = coordinates;
  return shape;
}

inline MaskedShape ShapeWithLanes(uint32_t bits, uint32_t n_max,
                                  size_t coordinates) {
  MaskedShape shape = ShapeOf(bits, n_max, coordinates);
  shape.lanes = {{LaneUse::kWeight, 1}, {LaneUse::kNll, 1000}};
  return shape;
}

// What a sum of one unmasked vector gives: lanes and coordinates, signed.
inline std::vector<int64_t> Lifted(const MaskedShape& shape,
                                   const RingVector& vector) {
  std::vector<int64_t> values;
  for (size_t i = 2; i < vector.size(); ++i) {
    int64_t value = vector[i] & ((uint64_t{1} << shape.bits) - 1);
    if (value >> (shape.bits - 1) != 0) value -= int64_t{1} << shape.bits;
    values.push_back(value);
  }
  return values;
}

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_SHAPES_H_
