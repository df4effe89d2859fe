#ifndef EDGETUNE_AGGREGATION_COMBINE_RULE_H_
#define EDGETUNE_AGGREGATION_COMBINE_RULE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "aggregation/aggregator.h"

namespace edgetune {

// How n updates u_i with weights w_i become one. f is `byzantine`, the most
// updates that may be lies; "nearest" is by L2 distance. All but the first two
// hold every update until Finish.
enum class CombineRule {
  // sum(w u) / sum(w): McMahan et al. 2017, FedAvg.
  kMean,
  // An update longer than `norm_bound` in L2 is shortened to it, then kMean:
  // Sun et al. 2019, "Can You Really Backdoor Federated Learning?", section 4.
  kNormBound,
  // For each coordinate the mean of what is left without the `trim` n (rounded
  // down) largest and as many smallest values: Yin et al. 2018,
  // "Byzantine-Robust Distributed Learning", Definition 2. Weights do not
  // count. O(n log n) a coordinate.
  kTrimmedMean,
  // For each coordinate the median, of an even number the mean of the middle
  // two: there, Definition 1. Weights do not count. O(n log n) a coordinate.
  kMedian,
  // argmin over v of sum(w |v - u|): Pillutla et al. 2022, "Robust Aggregation
  // for Federated Learning" (RFA). Weighted. See GeometricMedian in
  // robust_rules.h for when the iteration ends.
  kGeometricMedian,
  // The update with the smallest sum of squared distances to its n - f - 2
  // nearest others: Blanchard et al. 2017, "Machine Learning with Adversaries",
  // section 4. n >= 2f + 3. Weights do not count. O(n^2) a coordinate.
  kKrum,
  // The mean of the `kept` updates that kKrum scores best (0: n - f): there,
  // section 5. n >= 2f + 3 and n >= kept + f. Weights do not count.
  kMultiKrum,
  // Takes the best of kKrum out n - 2f times, then for each coordinate averages
  // the n - 4f of these values next to their median: El Mhamdi et al. 2018,
  // "The Hidden Vulnerability of Distributed Learning in Byzantium", section 4.
  // n >= 4f + 3. Weights do not count.
  kBulyan,
};

struct CombineOptions {
  CombineRule rule = CombineRule::kMean;
  WeightedMeanOptions limits;  // of every rule
  double trim = 0;             // kTrimmedMean: in (0, 0.5)
  int64_t byzantine = 0;       // kKrum, kMultiKrum, kBulyan: f
  int64_t kept = 0;            // kMultiKrum; 0: n - f
  double norm_bound = 0;       // kNormBound: above 0, finite
  bool operator==(const CombineOptions&) const = default;
};

// The words of a plan, in the order above: "mean", "norm_bound", ...
std::span<const std::string_view> CombineRuleNames();
std::string_view CombineRuleName(CombineRule rule);
// InvalidArgument: no such word.
absl::StatusOr<CombineRule> ParseCombineRule(std::string_view name);

// The smallest n that the rule can combine. kTrimmedMean: of fewer it would
// cut nothing.
int64_t FewestUpdates(const CombineOptions& options);

// InvalidArgument: an option out of its range.
absl::StatusOr<std::unique_ptr<Aggregator>> MakeAggregator(
    const CombineOptions& options);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_COMBINE_RULE_H_
