#include "simulations/population/apportion.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

std::vector<size_t> ByQuota(size_t total, std::span<const double> weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<size_t> parts;
  std::vector<double> fractions;
  size_t left = total;
  for (const double weight : weights) {
    const double quota = static_cast<double>(total) * (weight / sum);
    // Rounded quotas may sum to more than the total.
    parts.push_back(std::min(left, static_cast<size_t>(quota)));
    fractions.push_back(quota - std::floor(quota));
    left -= parts.back();
  }
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return fractions[a] > fractions[b]; });
  for (size_t i = 0; i < left; ++i) ++parts[order[i % order.size()]];
  return parts;
}

}  // namespace

std::vector<size_t> Apportion(size_t total, std::span<const double> weights,
                              size_t at_least) {
  EDGETUNE_CHECK(!weights.empty() && total / weights.size() >= at_least);
  std::vector<size_t> parts = ByQuota(total, weights);
  size_t lent = 0;
  for (size_t& part : parts) {
    if (part >= at_least) continue;
    lent += at_least - part;
    part = at_least;
  }
  std::priority_queue<std::pair<size_t, size_t>> largest;  // {part, index}
  for (size_t i = 0; lent > 0 && i < parts.size(); ++i) {
    largest.emplace(parts[i], i);
  }
  for (; lent > 0; --lent) {
    const auto [part, index] = largest.top();
    largest.pop();
    parts[index] = part - 1;
    largest.emplace(part - 1, index);
  }
  return parts;
}

}  // namespace edgetune
