#include "simulations/report/spread.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace edgetune {
namespace {

double Mean(std::vector<double>::const_iterator begin,
            std::vector<double>::const_iterator end) {
  return std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin);
}

}  // namespace

int64_t SaturatedSum(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return std::numeric_limits<int64_t>::max();
}

void Measure::Add(double nll, int64_t count) {
  nll_sum += nll;
  tokens = SaturatedSum(tokens, count);
}

std::optional<double> Measure::Perplexity() const {
  if (tokens == 0) return std::nullopt;
  return std::exp(nll_sum / static_cast<double>(tokens));
}

std::optional<Spread> SpreadOf(std::vector<double> perplexities) {
  if (perplexities.empty()) return std::nullopt;
  std::ranges::sort(perplexities);
  const auto n = static_cast<int64_t>(perplexities.size());
  Spread spread;
  spread.clients = n;
  spread.mean = Mean(perplexities.begin(), perplexities.end());
  double squares = 0;
  std::vector<double> served;
  for (const double x : perplexities) {
    squares += (x - spread.mean) * (x - spread.mean);
    served.push_back(1 / x);
  }
  spread.deviation = std::sqrt(squares / static_cast<double>(n));
  if (std::isinf(spread.mean)) spread.deviation = spread.mean;
  spread.worst_decile =
      Mean(perplexities.end() - (n + 9) / 10, perplexities.end());
  spread.jain = JainIndex(served).value_or(1);  // equally not at all
  return spread;
}

std::optional<double> JainIndex(const std::vector<double>& shares) {
  double largest = 0;
  for (const double x : shares) largest = std::max(largest, x);
  if (largest == 0) return std::nullopt;
  double sum = 0, squares = 0;  // of shares of the largest: nothing overflows
  for (const double x : shares) {
    const double part =
        std::isinf(largest) ? static_cast<double>(std::isinf(x)) : x / largest;
    sum += part;
    squares += part * part;
  }
  return sum * sum / (static_cast<double>(shares.size()) * squares);
}

}  // namespace edgetune
