#include "protos/plan_check_rules.h"

#include <fmt/format.h>

#include <cstdint>
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

// The coordinator answers nobody while it decomposes them.
constexpr uint64_t kMostStacked = 1024;

// Beside the clients' slices stand those of the adapter, frozen and trained,
// where some are frozen.
void CheckStacked(const v1::TaskPlan& plan, FieldChecks& check) {
  const uint64_t rank = plan.lora().rank();
  const auto frozen = static_cast<uint64_t>(FrozenRank(plan));
  const uint64_t kept = frozen > 0 ? frozen + rank : 0;
  const uint64_t asked = CohortAsked(plan.rounds());
  check.Require(
      asked * rank + kept <= kMostStacked, "rounds.cohort",
      fmt::format("{} clients asked", asked),
      fmt::format(
          "at most {} under {} with lora.rank = {}{}: the coordinator "
          "decomposes matrices with a column a client and rank",
          kept < kMostStacked ? (kMostStacked - kept) / rank : 0,
          plan.lora().rule(), rank,
          frozen > 0 ? fmt::format(" and {} frozen slices", frozen) : ""));
}

void CheckProducts(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::RoundsSpec& rounds = plan.rounds();
  const std::string& rule = plan.lora().rule();
  check.Require(!plan.secagg().enabled(), "lora.rule", rule,
                "secagg.enabled = false beside it: the mean of the products B "
                "A needs every device's pair of factors, which masking hides");
  CheckOwnMean(plan, "it averages the products B A", check);
  check.Require(rounds.server_optimizer() == "sgd" && rounds.server_lr() == 1,
                "lora.rule", rule,
                "rounds.server_optimizer = sgd with server_lr = 1 beside it: "
                "its factors are new ones, and a part of the way to them is no "
                "adapter");
  if (!check.status().ok()) return;
  CheckStacked(plan, check);
}

}  // namespace

void CheckLoraRule(const v1::TaskPlan& plan, FieldChecks& check) {
  if (StepsFromProducts(plan)) return CheckProducts(plan, check);
  if (!TrainsSlices(plan)) return;
  check.Require(!plan.secagg().enabled(), "lora.rule", plan.lora().rule(),
                "secagg.enabled = false beside it: what one device alone "
                "trained of a rank slice would stand in the sum as it is");
  CheckOwnMean(plan,
               "each rank slice has a weighted mean of its own, over the "
               "devices that trained it",
               check);
}

}  // namespace edgetune
