#ifndef EDGETUNE_TESTS_TESTING_NOT_FINITE_H_
#define EDGETUNE_TESTS_TESTING_NOT_FINITE_H_

// The values that computations may come to and nothing accepts.

#include <limits>

namespace edgetune::testing {

template <typename Float>
inline constexpr Float kNaN = std::numeric_limits<Float>::quiet_NaN();
template <typename Float>
inline constexpr Float kInf = std::numeric_limits<Float>::infinity();

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_NOT_FINITE_H_
