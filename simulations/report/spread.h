#ifndef EDGETUNE_SIMULATIONS_REPORT_SPREAD_H_
#define EDGETUNE_SIMULATIONS_REPORT_SPREAD_H_

#include <cstdint>
#include <optional>
#include <vector>

namespace edgetune {

// Summed held-out negative log-likelihood (nats) over tokens.
struct Measure {
  double nll_sum = 0;
  int64_t tokens = 0;

  void Add(double nll, int64_t count);
  // exp(nll_sum / tokens), infinite when too large for a double; nullopt
  // without tokens.
  std::optional<double> Perplexity() const;
};

// How differently clients fare. Over n >= 1 perplexities x_i:
struct Spread {
  int64_t clients = 0;
  double mean = 0;
  double deviation = 0;     // sqrt(sum (x_i - mean)^2 / n): these are all
  double worst_decile = 0;  // mean of the ceil(n / 10) largest
  // JainIndex of 1 / x_i, the (geometric) mean probability of a right token:
  // what is shared out is how well the model serves each client.
  double jain = 0;
};

// nullopt of none. Order does not matter; infinite ones make infinite figures.
std::optional<Spread> SpreadOf(std::vector<double> perplexities);

// (sum x)^2 / (n sum x^2) for x_i >= 0: 1 when all are equal, 1/n when one has
// everything (Jain, Chiu, Hawe: A Quantitative Measure of Fairness, DEC-TR-301,
// 1984, equation 2). nullopt when n is 0 or all are 0.
std::optional<double> JainIndex(const std::vector<double>& shares);

// a + b, at most the largest there is.
int64_t SaturatedSum(int64_t a, int64_t b);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_SPREAD_H_
