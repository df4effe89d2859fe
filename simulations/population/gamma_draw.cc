#include "simulations/population/gamma_draw.h"

#include <cmath>

namespace edgetune {
namespace {

// In (0, 1]: has a logarithm.
double AboveZero(Random& random) { return 1 - random.Uniform(); }

// shape >= 1.
double DrawLogLarge(double shape, Random& random) {
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.Normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    const double u = AboveZero(random);
    // The squeeze saves most of the logarithms.
    if (u < 1 - 0.0331 * x * x * x * x ||
        std::log(u) < 0.5 * x * x + d * (1 - v + std::log(v))) {
      return std::log(d) + std::log(v);
    }
  }
}

}  // namespace

double DrawLogGamma(double shape, Random& random) {
  if (shape >= 1) return DrawLogLarge(shape, random);
  const double larger = DrawLogLarge(shape + 1, random);
  return larger + std::log(AboveZero(random)) / shape;
}

}  // namespace edgetune
