#include "aggregation/plan_strategy.h"

#include "base/status.h"
#include "protos/plan_check.h"

namespace edgetune {

absl::StatusOr<CombineOptions> CombineOptionsOf(const v1::TaskPlan& plan,
                                                uint32_t round) {
  const v1::RoundsSpec& rounds = plan.rounds();
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            UpdateLayout(plan, round));
  CombineOptions options;
  EDGETUNE_ASSIGN_OR_RETURN(options.rule,
                            ParseCombineRule(rounds.aggregator()));
  options.limits.coordinates = layout.size();
  options.limits.bound = rounds.clear_bound();
  options.limits.weight_cap =
      rounds.weights() == "equal" ? 1 : rounds.weight_cap();
  options.limits.max_updates = CohortAsked(rounds);
  options.trim = rounds.trim();
  options.byzantine = rounds.byzantine();
  options.kept = rounds.kept();
  options.norm_bound = rounds.norm_bound();
  return options;
}

absl::StatusOr<ServerOptimizerOptions> ServerOptimizerOptionsOf(
    const v1::RoundsSpec& rounds) {
  ServerOptimizerOptions options;
  EDGETUNE_ASSIGN_OR_RETURN(options.kind,
                            ParseServerOptimizer(rounds.server_optimizer()));
  options.lr = rounds.server_lr();
  options.beta1 = rounds.server_beta1();
  options.beta2 = rounds.server_beta2();
  options.epsilon = rounds.server_epsilon();
  return options;
}

}  // namespace edgetune
