#include "simulations/population/dirichlet_deal.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "simulations/population/gamma_draw.h"

namespace edgetune {
namespace {

// The examples of one label that nobody has yet, in random order.
struct Pool {
  std::vector<size_t> left;
  size_t all = 0;
};

std::vector<Pool> MakePools(IndexLists by_label, const Random& random) {
  std::vector<Pool> pools;
  for (size_t label = 0; label < by_label.size(); ++label) {
    Random order = random.Split("label", label);
    order.Shuffle(by_label[label]);
    const size_t all = by_label[label].size();
    pools.push_back({std::move(by_label[label]), all});
  }
  return pools;
}

// One client's turn. Weights stay logarithms: with a small alpha all but one
// are below the smallest double, yet their order decides once that label is
// gone.
class Turn {
 public:
  Turn(double alpha, std::vector<Pool>* pools, Random random)
      : pools_(*pools), random_(random) {
    const size_t examples = std::accumulate(
        pools_.begin(), pools_.end(), size_t{0},
        [](size_t sum, const Pool& pool) { return sum + pool.all; });
    for (const Pool& pool : pools_) {
      const double prior =
          static_cast<double>(pool.all) / static_cast<double>(examples);
      log_weights_.push_back(DrawLogGamma(alpha * prior, random_));
    }
    Add();
  }

  size_t Take() {
    while (true) {
      Pool& pool = pools_[DrawLabel()];
      if (random_.Below(pool.all) >= pool.left.size()) continue;
      const size_t example = pool.left.back();
      pool.left.pop_back();
      if (pool.left.empty()) Add();
      return example;
    }
  }

 private:
  // Adds up the weights of labels that have an example left.
  void Add() {
    double largest = -std::numeric_limits<double>::infinity();
    for (size_t label = 0; label < pools_.size(); ++label) {
      if (pools_[label].left.empty()) continue;
      largest = std::max(largest, log_weights_[label]);
    }
    cumulative_.clear();
    double sum = 0;
    for (size_t label = 0; label < pools_.size(); ++label) {
      if (!pools_[label].left.empty()) {
        sum += std::exp(log_weights_[label] - largest);
      }
      cumulative_.push_back(sum);
    }
  }

  size_t DrawLabel() {
    while (true) {
      const double at = random_.Uniform() * cumulative_.back();
      const auto found = std::ranges::upper_bound(cumulative_, at);
      // The product may round up to the sum itself.
      if (found == cumulative_.end()) continue;
      return static_cast<size_t>(found - cumulative_.begin());
    }
  }

  std::vector<Pool>& pools_;
  Random random_;
  std::vector<double> log_weights_;
  std::vector<double> cumulative_;
};

}  // namespace

IndexLists DealByDirichlet(IndexLists by_label, const DirichletDeal& deal,
                           const Random& random) {
  std::vector<Pool> pools = MakePools(std::move(by_label), random);
  std::vector<size_t> order(deal.sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  random.Split("order").Shuffle(order);
  IndexLists out(deal.sizes.size());
  for (const size_t client : order) {
    Turn turn(deal.alpha, &pools, random.Split("client", client));
    for (size_t i = 0; i < deal.sizes[client]; ++i) {
      out[client].push_back(turn.Take());
    }
  }
  return out;
}

}  // namespace edgetune
