#include "protos/masking.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

// Nats a token: a model that knows nothing of a 49,152-token vocabulary is at
// 10.8; what lies above this is clamped by the client.
constexpr double kMostNatsPerToken = 16;

}  // namespace

double MaskedShape::ScaleOf(double lane_bound) const {
  const double largest = std::ldexp(1.0, static_cast<int>(bits) - 1) - 1;
  return (largest - n_max) / (n_max * lane_bound);
}

absl::StatusOr<MaskedShape> MaskedShapeOf(const v1::TaskPlan& plan,
                                          uint32_t round,
                                          v1::RoundManifest::Kind kind) {
  if (!plan.secagg().enabled()) {
    return absl::FailedPreconditionError("this plan does not mask");
  }
  MaskedShape shape;
  shape.bits = plan.secagg().bits();
  shape.n_min = plan.secagg().n_min();
  shape.n_max = std::min(plan.secagg().group(), CohortAsked(plan.rounds()));
  shape.bound = plan.secagg().bound();
  const bool train = kind == v1::RoundManifest::TRAIN;
  if (train && plan.rounds().weights() == "examples") {
    shape.lanes.push_back({LaneUse::kWeight, 1});
  }
  const double tokens = static_cast<double>(plan.rounds().eval_examples()) *
                        static_cast<double>(plan.data().max_length());
  shape.lanes.push_back({LaneUse::kNll, tokens * kMostNatsPerToken});
  shape.lanes.push_back({LaneUse::kTokens, tokens});
  if (!train) return shape;
  shape.lanes.push_back({LaneUse::kClamped, 1});
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            UpdateLayout(plan, round));
  shape.coordinates = layout.size();
  return shape;
}

}  // namespace edgetune
