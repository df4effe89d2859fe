#include <algorithm>
#include <array>
#include <numeric>

#include "aggregation/robust_rules.h"

namespace edgetune {
namespace {

// Partial sums side by side: one chain of additions would wait for each.
constexpr size_t kLanes = 8;

double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  std::array<double, kLanes> sums = {};
  size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double d = double{a[i + lane]} - double{b[i + lane]};
      sums[lane] += d * d;
    }
  }
  for (; i < a.size(); ++i) {
    const double d = double{a[i]} - double{b[i]};
    sums[0] += d * d;
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// Squared distances of all pairs, [n,n].
class Distances {
 public:
  explicit Distances(Updates updates)
      : n_(updates.size()), squares_(n_ * n_, 0.0) {
    for (size_t i = 0; i < n_; ++i) {
      for (size_t j = i + 1; j < n_; ++j) {
        squares_[i * n_ + j] = squares_[j * n_ + i] =
            SquaredDistance(updates[i], updates[j]);
      }
    }
  }

  // Krum's score of update `i` among `present`: the sum of squared distances
  // to the nearest others, all but byzantine + 1 of them. Summed ascending.
  double Score(size_t i, std::span<const size_t> present,
               size_t byzantine) const {
    std::vector<double> others;
    for (const size_t j : present) {
      if (j != i) others.push_back(squares_[i * n_ + j]);
    }
    std::sort(others.begin(), others.end());
    const size_t nearest =
        others.size() > byzantine + 1 ? others.size() - byzantine - 1 : 1;
    others.resize(std::min(nearest, others.size()));
    return std::accumulate(others.begin(), others.end(), 0.0);
  }

 private:
  const size_t n_;
  std::vector<double> squares_;
};

std::vector<size_t> AllOf(size_t n) {
  std::vector<size_t> all(n);
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

// In the order of content, so that a mean of them is one of content alone.
std::vector<std::span<const float>> Pick(Updates updates,
                                         std::vector<size_t> chosen) {
  std::sort(chosen.begin(), chosen.end());
  std::vector<std::span<const float>> picked;
  for (const size_t i : chosen) picked.push_back(updates[i]);
  return picked;
}

}  // namespace

std::vector<std::span<const float>> KrumBest(Updates updates, size_t byzantine,
                                             size_t kept) {
  const Distances distances(updates);
  std::vector<size_t> order = AllOf(updates.size());
  std::vector<double> scores;
  for (size_t i = 0; i < updates.size(); ++i) {
    scores.push_back(distances.Score(i, order, byzantine));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  order.resize(kept);
  return Pick(updates, std::move(order));
}

std::vector<std::span<const float>> BulyanSelection(Updates updates,
                                                    size_t byzantine) {
  const Distances distances(updates);
  std::vector<size_t> present = AllOf(updates.size());
  std::vector<size_t> chosen;
  while (chosen.size() < updates.size() - 2 * byzantine) {
    std::vector<double> scores;
    for (const size_t i : present) {
      scores.push_back(distances.Score(i, present, byzantine));
    }
    const auto best = std::min_element(scores.begin(), scores.end());
    const auto at = present.begin() + (best - scores.begin());
    chosen.push_back(*at);
    present.erase(at);
  }
  return Pick(updates, std::move(chosen));
}

}  // namespace edgetune
