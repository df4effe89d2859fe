#ifndef EDGETUNE_AGGREGATION_ROBUST_RULES_H_
#define EDGETUNE_AGGREGATION_ROBUST_RULES_H_

// The arithmetic of the rules that need all updates at once (combine_rule.h
// names their sources). Pure functions. Updates are n >= 1 vectors of one
// length without NaN or Inf, sorted by content: whatever is tied goes to the
// first, so equal sets give equal bits. Sums are double and begin at 0.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/parameters.h"

namespace edgetune {

using Updates = std::span<const std::span<const float>>;

// How many of n values the share `trim` cuts at each end: trim * n rounded
// down (a product that rounding left just below a whole number counts as it),
// and never all.
size_t CutAtEachEnd(double trim, size_t n);
// The smallest n of which it cuts one.
int64_t FewestToTrim(double trim);

// --- for each coordinate on its own (coordinate_rules.cc)
ParameterVector Mean(Updates updates);
// Without the `cut` smallest and largest values; 2 cut < n.
ParameterVector TrimmedMean(Updates updates, size_t cut);
ParameterVector Median(Updates updates);
// The mean of the `kept` values next to the median, 1 <= kept <= n; of two
// equally near the smaller.
ParameterVector MeanAroundMedian(Updates updates, size_t kept);

// --- whole updates (krum.cc). `byzantine` is f.
// The `kept` updates with the smallest scores, by content; n >= 2f + 3, kept
// <= n.
std::vector<std::span<const float>> KrumBest(Updates updates, size_t byzantine,
                                             size_t kept);
// The n - 2f that Krum takes out one after the other, by content; n >= 4f + 3.
// Among the r that are left a score counts the r - f - 2 nearest, and one at
// least while there is another.
std::vector<std::span<const float>> BulyanSelection(Updates updates,
                                                    size_t byzantine);

// --- the point nearest to all (geometric_median.cc)
// Pillutla et al. 2022, Algorithm 2, the smoothed Weiszfeld algorithm:
//   b_i = w_i / max(nu, |v - u_i|)      v <- sum(b u) / sum(b)
// with nu = 1e-6, from the median of each coordinate (which far liars do not
// move), until a step is shorter than 1e-6 of sum(w) / sum(b), a harmonic mean
// of the distances, or 100 steps are made: next to an update they are short,
// and the point may still be moving where the sum of distances is almost flat.
ParameterVector GeometricMedian(Updates updates,
                                std::span<const double> weights);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_ROBUST_RULES_H_
