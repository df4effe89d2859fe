#include "protos/plan_check_rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "protos/masking.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

// A receipt holds every member's keys, proof and signature in one envelope.
constexpr uint32_t kMostMasked = 1000;
// Far below any update that means something; the scale of a smaller one's lanes
// would not stay finite.
constexpr double kSmallestMaskedBound = 1e-9;
// Rules that hold every update do so in the coordinator's memory, and it
// answers nobody while it combines them: Krum's family compares all pairs.
constexpr uint32_t kMostHeld = 1000;
constexpr uint32_t kMostCompared = 300;

bool ComparesPairs(std::string_view aggregator) {
  return aggregator == "krum" || aggregator == "multi_krum" ||
         aggregator == "bulyan";
}

// What belongs to one rule only.
void CheckRuleFields(const v1::RoundsSpec& rounds, FieldChecks& check) {
  const std::string& rule = rounds.aggregator();
  if (rule == "trimmed_mean") {
    check.Require(rounds.trim() > 0 && rounds.trim() < 0.5, "rounds.trim",
                  fmt::format("{}", rounds.trim()),
                  "more than 0 and below 0.5 under trimmed_mean");
  } else {
    check.Require(rounds.trim() == 0, "rounds.trim",
                  fmt::format("{}", rounds.trim()),
                  "0 but under rounds.aggregator = trimmed_mean");
  }
  if (ComparesPairs(rule)) {
    check.Require(rounds.byzantine() > 0, "rounds.byzantine", "0",
                  fmt::format("1 or more under {}", rule));
  } else {
    check.Require(rounds.byzantine() == 0, "rounds.byzantine",
                  std::to_string(rounds.byzantine()),
                  "0 but under rounds.aggregator = krum, multi_krum or bulyan");
  }
  check.Require(rounds.kept() == 0 || rule == "multi_krum", "rounds.kept",
                std::to_string(rounds.kept()),
                "0 but under rounds.aggregator = multi_krum");
  if (rule == "norm_bound") {
    check.Positive("rounds.norm_bound", rounds.norm_bound(), kLargestSetting);
  } else {
    check.Require(rounds.norm_bound() == 0, "rounds.norm_bound",
                  fmt::format("{}", rounds.norm_bound()),
                  "0 but under rounds.aggregator = norm_bound");
  }
}

void CheckMostAsked(const v1::RoundsSpec& rounds, FieldChecks& check) {
  const uint32_t asked = CohortAsked(rounds);
  const uint32_t most =
      ComparesPairs(rounds.aggregator()) ? kMostCompared : kMostHeld;
  check.Require(!HoldsEveryUpdate(rounds) || asked <= most, "rounds.cohort",
                fmt::format("{} clients asked", asked),
                fmt::format("at most {} under {}, which holds every update",
                            most, rounds.aggregator()));
}

// Of a rule that needs more than one.
std::string NeedText(const v1::RoundsSpec& rounds) {
  if (rounds.aggregator() == "trimmed_mean") {
    return fmt::format("rounds.trim = {}", rounds.trim());
  }
  return fmt::format("rounds.byzantine = {}{}", rounds.byzantine(),
                     rounds.kept() == 0
                         ? std::string()
                         : fmt::format(" and rounds.kept = {}", rounds.kept()));
}

void CheckSecAggSizes(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::SecAggSpec& secagg = plan.secagg();
  const uint32_t asked = CohortAsked(plan.rounds());
  check.Whole("secagg.n_min", secagg.n_min(), kSecAggSmallestCohort,
              kSecAggLargestGroup);
  check.Whole("secagg.group", secagg.group(), kSecAggSmallestCohort,
              kSecAggLargestGroup);
  check.Require(asked >= secagg.n_min(), "secagg.n_min",
                std::to_string(secagg.n_min()),
                fmt::format("at most the {} clients asked: a smaller cohort "
                            "cannot hide a single update (a run without "
                            "masking says secagg.enabled = false)",
                            asked));
  check.Require(
      asked <= kMostMasked, "rounds.cohort",
      fmt::format("{} clients asked", asked),
      fmt::format("at most {} under masking in this version", kMostMasked));
  // Groups are cut as equal as can be, so the smallest holds half a group.
  check.Require(asked <= secagg.group() || secagg.n_min() <= secagg.group() / 2,
                "secagg.n_min", std::to_string(secagg.n_min()),
                fmt::format("at most half of secagg.group = {} when more "
                            "clients are asked than one group holds",
                            secagg.group()));
  const uint32_t threshold = SecAggThreshold(asked);
  check.Require(plan.rounds().quorum() >= threshold, "rounds.quorum",
                std::to_string(plan.rounds().quorum()),
                fmt::format("at least {} of {} clients asked under masking",
                            threshold, asked));
}

}  // namespace

void CheckAggregator(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::RoundsSpec& rounds = plan.rounds();
  check.Word("rounds.aggregator", rounds.aggregator(),
             {"mean", "trimmed_mean", "median", "geometric_median", "krum",
              "multi_krum", "bulyan", "norm_bound"});
  check.Require(rounds.aggregator() == "mean" || !plan.secagg().enabled(),
                "rounds.aggregator", rounds.aggregator(),
                "mean where secagg.enabled: masking leaves only sums, and this "
                "rule looks at single updates");
  if (!check.status().ok()) return;
  CheckRuleFields(rounds, check);
  if (!check.status().ok()) return;
  CheckMostAsked(rounds, check);
  const uint64_t needed = UpdatesNeeded(rounds);
  check.Require(rounds.quorum() >= needed, "rounds.quorum",
                std::to_string(rounds.quorum()),
                fmt::format("at least {}: {} cannot combine fewer updates with "
                            "{}",
                            needed, rounds.aggregator(), NeedText(rounds)));
}

void CheckServerStep(const v1::RoundsSpec& rounds, FieldChecks& check) {
  const std::string& step = rounds.server_optimizer();
  check.Word("rounds.server_optimizer", step,
             {"sgd", "momentum", "adam", "yogi", "adagrad"});
  check.Positive("rounds.server_lr", rounds.server_lr(), 1000);
  const double below_one = std::nextafter(1.0, 0.0);
  check.Real("rounds.server_beta1", rounds.server_beta1(), 0, below_one);
  check.Real("rounds.server_beta2", rounds.server_beta2(), 0, below_one);
  if (step == "adam" || step == "yogi" || step == "adagrad") {
    check.Positive("rounds.server_epsilon", rounds.server_epsilon(), 1);
  } else {
    check.Real("rounds.server_epsilon", rounds.server_epsilon(), 0, 1);
  }
}

void CheckSecAgg(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::SecAggSpec& secagg = plan.secagg();
  if (!secagg.enabled()) {
    check.Whole("secagg.n_min", secagg.n_min(), 0, 0);
    check.Whole("secagg.bits", secagg.bits(), 0, 0);
    check.Real("secagg.bound", secagg.bound(), 0, 0);
    check.Whole("secagg.group", secagg.group(), 0, 0);
    check.Whole("secagg.max_contributions", secagg.max_contributions(), 0, 0);
    return;
  }
  check.Require(secagg.bits() == 16 || secagg.bits() == 20 ||
                    secagg.bits() == 24 || secagg.bits() == 32,
                "secagg.bits", std::to_string(secagg.bits()),
                "16, 20, 24 or 32");
  check.Real("secagg.bound", secagg.bound(), kSmallestMaskedBound, 64);
  check.Whole("secagg.max_contributions", secagg.max_contributions(), 1, 1);
  if (check.status().ok()) CheckSecAggSizes(plan, check);
}

}  // namespace edgetune
