#include "tools/federation/masking_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "protos/masking.h"
#include "protos/plan_check.h"

namespace edgetune {

std::string PrivacyText(const v1::TaskPlan& plan) {
  if (!plan.secagg().enabled()) {
    return "not masked (secagg.enabled = false): the coordinator sees each "
           "update";
  }
  return fmt::format(
      "masked: the coordinator learns sums of updates, weights and held-out "
      "losses over {} or more devices, and who took part",
      SecAggThreshold(plan.secagg().n_min()));
}

MaskingFacts MaskingFactsOf(const v1::TaskPlan& plan) {
  const v1::SecAggSpec& secagg = plan.secagg();
  const uint32_t asked = CohortAsked(plan.rounds());
  const uint32_t group = secagg.group();
  MaskingFacts facts;
  facts.n_min = secagg.n_min();
  facts.groups = (asked + group - 1) / group;
  facts.members = (asked + facts.groups - 1) / facts.groups;
  facts.threshold = SecAggThreshold(facts.members);
  facts.fewest = SecAggThreshold(facts.n_min);
  facts.bits = secagg.bits();
  facts.bound = secagg.bound();
  MaskedShape shape;
  shape.bits = facts.bits;
  shape.n_max = std::min(group, asked);
  facts.step = 1 / shape.ScaleOf(facts.bound);
  return facts;
}

nlohmann::json MaskingJson(const v1::TaskPlan& plan) {
  if (!plan.secagg().enabled()) return nullptr;
  const MaskingFacts facts = MaskingFactsOf(plan);
  return {{"n_min", facts.n_min},
          {"groups", facts.groups},
          {"group_members", facts.members},
          {"threshold", facts.threshold},
          {"fewest_in_a_sum", facts.fewest},
          {"bits", facts.bits},
          {"bound", facts.bound},
          {"step", facts.step},
          {"notes", PlanNotes(plan)}};
}

std::vector<std::string> MaskingLines(const v1::TaskPlan& plan) {
  if (!plan.secagg().enabled()) return {};
  const MaskingFacts facts = MaskingFactsOf(plan);
  std::vector<std::string> lines = {
      facts.groups == 1
          ? fmt::format("of {} devices that sent keys {} must stay to the end; "
                        "devices refuse cohorts below {}",
                        facts.members, facts.threshold, facts.n_min)
          : fmt::format("{} groups of at most {} devices, {} of which must "
                        "stay to the end; devices refuse cohorts below {}",
                        facts.groups, facts.members, facts.threshold,
                        facts.n_min),
      fmt::format("{} bits a coordinate, bound {}, steps of {:.1e}", facts.bits,
                  facts.bound, facts.step)};
  for (std::string& note : PlanNotes(plan)) lines.push_back(std::move(note));
  return lines;
}

}  // namespace edgetune
