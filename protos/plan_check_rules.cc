#include "protos/plan_check_rules.h"

#include <string>

#include "protos/plan_check.h"

namespace edgetune {
namespace {

// Of a rule that makes something else than one mean of the updates.
void CheckOwnMean(const v1::TaskPlan& plan, const std::string& reason,
                  FieldChecks& check) {
  const v1::RoundsSpec& rounds = plan.rounds();
  const auto require = [&](bool condition, const std::string& wanted) {
    check.Require(condition, "lora.rule", plan.lora().rule(),
                  wanted + " beside it: " + reason);
  };
  require(rounds.aggregator() == "mean", "rounds.aggregator = mean");
  require(rounds.normalise() != "steps", "rounds.normalise = none");
  require(rounds.fairness_q() == 0, "rounds.fairness_q = 0");
}

}  // namespace

void CheckLoraRule(const v1::TaskPlan& plan, FieldChecks& check) {
  if (!TrainsSlices(plan)) return;
  check.Require(!plan.secagg().enabled(), "lora.rule", plan.lora().rule(),
                "secagg.enabled = false beside it: each rank slice is divided "
                "by the weights of the devices that trained it, and a masked "
                "round of this version has one sum of weights");
  CheckOwnMean(plan,
               "each rank slice has a weighted mean of its own, over the "
               "devices that trained it",
               check);
}

}  // namespace edgetune
