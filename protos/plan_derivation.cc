// What follows from a plan that was accepted: layouts, cohort, digests, notes.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/status.h"
#include "base/units.h"
#include "protos/local_work.h"
#include "protos/masking.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

void AppendBigEndian(uint64_t value, int bytes, std::string& out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

void AppendPrefixed(const std::string& text, std::string& out) {
  AppendBigEndian(text.size(), 4, out);
  out += text;
}

absl::Status CheckTrainingRound(const v1::TaskPlan& plan, uint32_t round) {
  if (round < plan.rounds().count()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("round {} has no update: the plan has {} training rounds",
                  round, plan.rounds().count()));
}

void AddMaskingNotes(const v1::TaskPlan& plan,
                     std::vector<std::string>& notes) {
  const auto shape = MaskedShapeOf(plan, 0, v1::RoundManifest::TRAIN);
  if (!shape.ok()) return;
  // A client with few examples sends small integers: its weight is its share
  // of the cap.
  const double step = 1 / shape->ScaleOf(shape->bound);
  if (plan.rounds().weights() == "examples" && shape->bits < 32) {
    notes.emplace_back(fmt::format(
        "masked updates move in steps of {:.1e} times weight_cap {:.0f} over "
        "a client's examples; a weight_cap near what clients hold keeps them "
        "precise",
        step, plan.rounds().weight_cap()));
  }
  for (const MaskedShape::Lane& lane : shape->lanes) {
    const double lane_step = 1 / shape->ScaleOf(lane.bound);
    if (lane.use != LaneUse::kNll || lane_step <= 1) continue;
    notes.emplace_back(fmt::format(
        "held-out losses are summed in steps of {:.0f} nats a client: more "
        "bits or fewer eval_examples make perplexity precise",
        lane_step));
  }
}

void AddAggregatorNotes(const v1::TaskPlan& plan,
                        std::vector<std::string>& notes) {
  const v1::RoundsSpec& rounds = plan.rounds();
  if (!HoldsEveryUpdate(rounds)) return;
  if (rounds.weights() == "examples" &&
      rounds.aggregator() != "geometric_median") {
    notes.emplace_back(
        fmt::format("{} does not look at weights: every update counts alike",
                    rounds.aggregator()));
  }
  const auto layout = UpdateLayout(plan, 0);
  if (!layout.ok()) return;
  notes.emplace_back(fmt::format(
      "{} holds every update of a round: up to {} in the coordinator's memory",
      rounds.aggregator(),
      FormatBytes(uint64_t{CohortAsked(rounds)} * layout->size() *
                  sizeof(float))));
}

void AddControlNotes(const v1::TaskPlan& plan,
                     std::vector<std::string>& notes) {
  const auto layout = UpdateLayout(plan, 0);
  if (!UsesControls(plan) || !layout.ok()) return;
  notes.emplace_back(fmt::format(
      "control variates: {} more down a round, no more up; a device keeps two "
      "such vectors in its state",
      FormatBytes(uint64_t{layout->size()} * sizeof(float))));
}

void AddSliceNotes(const v1::TaskPlan& plan, std::vector<std::string>& notes) {
  if (!TrainsSlices(plan)) return;
  notes.emplace_back(fmt::format(
      "{}: a device whose largest rank is smaller trains, sends and is scored "
      "on the first rank slices; {}",
      plan.lora().rule(),
      AveragesProducts(plan)
          ? "the next adapter is the one of its rank nearest to the mean of "
            "all "
            "B A"
          : "each slice is the mean of those that trained it"));
  const auto layout = UpdateLayout(plan, 0);
  if (!AveragesProducts(plan) || !layout.ok()) return;
  notes.emplace_back(fmt::format(
      "flexlora holds every update of a round: up to {} in the coordinator's "
      "memory",
      FormatBytes(uint64_t{CohortAsked(plan.rounds())} * layout->size() *
                  sizeof(float))));
}

void AddOwnFactorNotes(const v1::TaskPlan& plan,
                       std::vector<std::string>& notes) {
  if (!KeepsOwnFactor(plan)) return;
  notes.emplace_back(
      "fedsa: each device keeps its own B; the adapter that is published has "
      "the trained A and the initial B (zeros: by itself it changes nothing)");
  notes.emplace_back(
      "a device that takes part in the closing evaluation writes A and its own "
      "B as an adapter into its state; perplexities are those of A with each "
      "device's own B");
}

}  // namespace

absl::StatusOr<ParameterLayout> AdapterLayout(const v1::TaskPlan& plan) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors;
  for (const v1::LayoutTensor& tensor : plan.lora().layout()) {
    tensors.emplace_back(
        tensor.name(),
        std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end()));
  }
  auto layout = ParameterLayout::Make(std::move(tensors));
  if (!layout.ok()) {
    return Prefix(layout.status(), "plan: field lora.layout");
  }
  return layout;
}

Factors UpdateFactors(const v1::TaskPlan& plan, uint32_t round) {
  const std::string& rule = plan.lora().rule();
  if (rule == "ffa") return Factors::kB;
  if (rule == "rolora") return round % 2 == 0 ? Factors::kB : Factors::kA;
  if (rule == "fedsa") return Factors::kA;
  if (rule == "fedsb") return Factors::kCore;
  return Factors::kBoth;
}

Factors TrainedFactors(const v1::TaskPlan& plan, uint32_t round) {
  return KeepsOwnFactor(plan) ? Factors::kBoth : UpdateFactors(plan, round);
}

bool TrainsSlices(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "hetlora" || AveragesProducts(plan);
}

bool TrainsCores(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "fedsb";
}

bool AveragesProducts(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "flexlora";
}

bool KeepsOwnFactor(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "fedsa";
}

absl::StatusOr<ParameterLayout> UpdateLayout(const v1::TaskPlan& plan,
                                             uint32_t round) {
  EDGETUNE_RETURN_IF_ERROR(CheckTrainingRound(plan, round));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout adapter, AdapterLayout(plan));
  return LayoutOf(adapter, UpdateFactors(plan, round));
}

absl::StatusOr<std::vector<CoordinateRange>> UpdateRanges(
    const v1::TaskPlan& plan, uint32_t round) {
  EDGETUNE_RETURN_IF_ERROR(CheckTrainingRound(plan, round));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout adapter, AdapterLayout(plan));
  return RangesOf(adapter, UpdateFactors(plan, round));
}

std::vector<std::string> PlanNotes(const v1::TaskPlan& plan) {
  std::vector<std::string> notes;
  AddMaskingNotes(plan, notes);
  AddAggregatorNotes(plan, notes);
  AddControlNotes(plan, notes);
  AddOwnFactorNotes(plan, notes);
  AddSliceNotes(plan, notes);
  if (TrainsCores(plan)) {
    notes.emplace_back(
        "fedsb: A and B are random and fixed, a square of rank by rank is "
        "trained for each module; the published adapter has it multiplied into "
        "B");
  }
  return notes;
}

uint32_t CohortAsked(const v1::RoundsSpec& rounds) {
  return static_cast<uint32_t>(
      std::llround(rounds.cohort() * rounds.over_select()));
}

bool HoldsEveryUpdate(const v1::RoundsSpec& rounds) {
  return rounds.aggregator() != "mean" && rounds.aggregator() != "norm_bound";
}

uint64_t UpdatesNeeded(const v1::RoundsSpec& rounds) {
  const std::string& rule = rounds.aggregator();
  const uint64_t f = rounds.byzantine();
  if (rule == "krum") return 2 * f + 3;
  if (rule == "multi_krum") {
    return std::max(2 * f + 3, uint64_t{rounds.kept()} + f);
  }
  if (rule == "bulyan") return 4 * f + 3;
  if (rule != "trimmed_mean" || !(rounds.trim() > 0)) return 1;
  // The slack and the limit are those of FewestToTrim in aggregation/.
  return static_cast<uint64_t>(
      std::min(1e15, std::ceil((1 - 1e-9) / rounds.trim())));
}

std::string CanonicalBaseEncoding(std::vector<v1::FilePart> parts) {
  std::sort(parts.begin(), parts.end(),
            [](const v1::FilePart& a, const v1::FilePart& b) {
              return a.name() < b.name();
            });
  std::string out;
  AppendBigEndian(parts.size(), 4, out);
  for (const v1::FilePart& part : parts) {
    AppendPrefixed(part.name(), out);
    AppendBigEndian(part.size(), 8, out);
    AppendPrefixed(part.sha256(), out);
  }
  return out;
}

}  // namespace edgetune
