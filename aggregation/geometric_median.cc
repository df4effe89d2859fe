#include <algorithm>
#include <cmath>

#include "aggregation/robust_rules.h"

namespace edgetune {
namespace {

constexpr double kSmoothing = 1e-6;  // nu
constexpr double kTolerance = 1e-6;
constexpr int kMostIterations = 100;

double Distance(const std::vector<double>& point,
                std::span<const float> update) {
  double squares = 0;
  for (size_t i = 0; i < point.size(); ++i) {
    const double d = point[i] - double{update[i]};
    squares += d * d;
  }
  return std::sqrt(squares);
}

}  // namespace

ParameterVector GeometricMedian(Updates updates,
                                std::span<const double> weights) {
  const ParameterVector start = Median(updates);
  std::vector<double> point(start.begin(), start.end());
  for (int step = 0; step < kMostIterations; ++step) {
    std::vector<double> next(point.size(), 0.0);
    double weight_sum = 0, pull_sum = 0;  // sum(w), sum(b)
    for (size_t k = 0; k < updates.size(); ++k) {
      const double pull =
          weights[k] / std::max(kSmoothing, Distance(point, updates[k]));
      weight_sum += weights[k];
      pull_sum += pull;
      for (size_t i = 0; i < next.size(); ++i) next[i] += pull * updates[k][i];
    }
    double moved = 0;
    for (size_t i = 0; i < next.size(); ++i) {
      next[i] /= pull_sum;
      moved += (next[i] - point[i]) * (next[i] - point[i]);
    }
    point = std::move(next);
    if (std::sqrt(moved) <= kTolerance * weight_sum / pull_sum) break;
  }
  ParameterVector result(point.size());
  for (size_t i = 0; i < point.size(); ++i) {
    result[i] = static_cast<float>(point[i]);
  }
  return result;
}

}  // namespace edgetune
