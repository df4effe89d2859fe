#include "aggregation/combine_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "aggregation/held_updates.h"
#include "aggregation/norm_bound.h"
#include "aggregation/robust_rules.h"
#include "aggregation/update_check.h"
#include "base/status.h"

namespace edgetune {
namespace {

constexpr std::string_view kRuleNames[] = {
    "mean", "norm_bound", "trimmed_mean", "median", "geometric_median",
    "krum", "multi_krum", "bulyan"};  // in the order of CombineRule

absl::Status CheckRuleOptions(const CombineOptions& options) {
  const CombineRule rule = options.rule;
  if (rule == CombineRule::kTrimmedMean &&
      !(options.trim > 0 && options.trim < 0.5)) {
    return absl::InvalidArgumentError(
        fmt::format("trim is {}, wanted more than 0 and below 0.5: the share "
                    "cut at each end",
                    options.trim));
  }
  if (rule == CombineRule::kNormBound &&
      !(options.norm_bound > 0 && std::isfinite(options.norm_bound))) {
    return absl::InvalidArgumentError(fmt::format(
        "norm_bound is {}, wanted above 0 and finite", options.norm_bound));
  }
  if (options.byzantine < 0 || options.kept < 0) {
    return absl::InvalidArgumentError(
        fmt::format("byzantine is {} and kept {}, wanted neither below 0",
                    options.byzantine, options.kept));
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const std::string_view> CombineRuleNames() { return kRuleNames; }

std::string_view CombineRuleName(CombineRule rule) {
  return kRuleNames[static_cast<size_t>(rule)];
}

absl::StatusOr<CombineRule> ParseCombineRule(std::string_view name) {
  const auto* at =
      std::find(std::begin(kRuleNames), std::end(kRuleNames), name);
  if (at == std::end(kRuleNames)) {
    return absl::InvalidArgumentError(
        fmt::format("no rule combines updates under the name \"{}\"", name));
  }
  return static_cast<CombineRule>(at - std::begin(kRuleNames));
}

int64_t FewestUpdates(const CombineOptions& options) {
  const int64_t f = options.byzantine;
  switch (options.rule) {
    case CombineRule::kMean:
    case CombineRule::kNormBound:
    case CombineRule::kMedian:
    case CombineRule::kGeometricMedian:
      return 1;
    case CombineRule::kTrimmedMean:
      return FewestToTrim(options.trim);
    case CombineRule::kKrum:
      return 2 * f + 3;
    case CombineRule::kMultiKrum:
      return std::max(2 * f + 3, options.kept + f);
    case CombineRule::kBulyan:
      return 4 * f + 3;
  }
  return 1;
}

absl::StatusOr<std::unique_ptr<Aggregator>> MakeAggregator(
    const CombineOptions& options) {
  EDGETUNE_RETURN_IF_ERROR(CheckLimits(options.limits));
  EDGETUNE_RETURN_IF_ERROR(CheckRuleOptions(options));
  switch (options.rule) {
    case CombineRule::kMean:
      return MakeWeightedMean(options.limits);
    case CombineRule::kNormBound:
      return MakeNormBound(options);
    default:
      return MakeHeldUpdates(options);
  }
}

}  // namespace edgetune
