#ifndef EDGETUNE_TOOLS_FEDERATION_MASKING_TEXT_H_
#define EDGETUNE_TOOLS_FEDERATION_MASKING_TEXT_H_

// What a plan means for privacy, in words. Stateless.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// What the coordinator sees or learns under this plan: one line, no full stop.
// Of any plan, also one that came from a server.
std::string PrivacyText(const v1::TaskPlan& plan);

// Sizes of masking as they follow from a plan. From here on: CheckPlan has
// accepted it.
struct MaskingFacts {
  uint32_t n_min = 0;      // smallest cohort that devices accept
  uint32_t groups = 1;     // when all that are asked come
  uint32_t members = 0;    // of the largest group then
  uint32_t threshold = 0;  // t of that group
  uint32_t fewest = 0;     // in a sum, whatever happens: t of n_min
  uint32_t bits = 0;
  double bound = 0;
  double step = 0;  // of one coordinate, before the mean
};
// The plan masks.
MaskingFacts MaskingFactsOf(const v1::TaskPlan& plan);
nlohmann::json MaskingJson(const v1::TaskPlan& plan);  // null: not masked
// Lines for `plan check`, and PlanNotes; empty when not masked.
std::vector<std::string> MaskingLines(const v1::TaskPlan& plan);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_MASKING_TEXT_H_
