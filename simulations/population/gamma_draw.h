#ifndef EDGETUNE_SIMULATIONS_POPULATION_GAMMA_DRAW_H_
#define EDGETUNE_SIMULATIONS_POPULATION_GAMMA_DRAW_H_

#include "base/random.h"

namespace edgetune {

// The logarithm of a draw from the gamma distribution of this shape and scale
// 1. The logarithm, because draws of small shapes are below the smallest
// double. Our own, because std::gamma_distribution gives other numbers with
// another standard library. Stateless; shape > 0 and finite.
//
// Marsaglia and Tsang, "A simple method for generating gamma variables", ACM
// TOMS 26(3), 2000: section 4's algorithm; below shape 1 section 6's
// Gamma(a) = Gamma(a + 1) U^(1/a).
double DrawLogGamma(double shape, Random& random);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_GAMMA_DRAW_H_
