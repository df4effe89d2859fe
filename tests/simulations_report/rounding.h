#ifndef EDGETUNE_TESTS_SIMULATIONS_REPORT_ROUNDING_H_
#define EDGETUNE_TESTS_SIMULATIONS_REPORT_ROUNDING_H_

namespace edgetune::testing {

// A few roundings of doubles.
inline constexpr double kRounding = 1e-12;

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SIMULATIONS_REPORT_ROUNDING_H_
