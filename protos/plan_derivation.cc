// What follows from a plan that was accepted: layouts, cohort, digests, notes.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/rank_slices.h"
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

// Checks of a plan ask for its layouts before all of it is known to be right.
absl::Status CheckSliced(const v1::TaskPlan& plan,
                         const ParameterLayout& adapter) {
  const auto& tensors = adapter.tensors();
  const bool factors =
      std::all_of(tensors.begin(), tensors.end(),
                  [](const auto& tensor) { return tensor.shape.size() == 2; });
  if (factors && plan.lora().rank() >= 1 && FrozenRank(plan) >= 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "plan: field lora.layout has {} frozen rank slices beside {} trained",
      FrozenRank(plan), plan.lora().rank()));
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

// What becomes of the slices that devices train.
const char* SlicesText(const v1::TaskPlan& plan) {
  if (AveragesProducts(plan)) {
    return "the next adapter is the one of its rank nearest to the mean of all "
           "B A";
  }
  if (BeginsAnew(plan)) return "the mean of all B A goes to the frozen slices";
  return "each slice is the mean of those that trained it";
}

void AddSliceNotes(const v1::TaskPlan& plan, std::vector<std::string>& notes) {
  if (!TrainsSlices(plan)) return;
  notes.emplace_back(fmt::format(
      "{}: a device whose largest rank is smaller trains, sends and is scored "
      "on the first rank slices; {}",
      plan.lora().rule(), SlicesText(plan)));
}

void AddFrozenNotes(const v1::TaskPlan& plan, std::vector<std::string>& notes) {
  const auto adapter = AdapterLayout(plan);
  if (!KeepsFrozenSlices(plan) || !adapter.ok()) return;
  const int64_t frozen = FrozenRank(plan);
  const auto trained = UpdateLayout(plan, 0);
  if (!trained.ok()) return;
  notes.emplace_back(fmt::format(
      "{}: {} frozen rank slices stand for what is added to the base: {} more "
      "down a round, and devices compute and remember an adapter of rank {}; "
      "sent are the {} that are trained",
      plan.lora().rule(), frozen,
      FormatBytes((adapter->size() - trained->size()) * sizeof(float)),
      plan.lora().rank() + frozen, plan.lora().rank()));
}

void AddProductNotes(const v1::TaskPlan& plan,
                     std::vector<std::string>& notes) {
  const auto layout = UpdateLayout(plan, 0);
  if (!StepsFromProducts(plan) || !layout.ok()) return;
  notes.emplace_back(fmt::format(
      "{} holds every update of a round: up to {} in the coordinator's memory",
      plan.lora().rule(),
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
  return plan.lora().rule() == "hetlora" || AveragesProducts(plan) ||
         BeginsAnew(plan);
}

bool KeepsFrozenSlices(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "fedex" || BeginsAnew(plan);
}

bool BeginsAnew(const v1::TaskPlan& plan) {
  return plan.lora().rule() == "flora";
}

bool StepsFromProducts(const v1::TaskPlan& plan) {
  return AveragesProducts(plan) || KeepsFrozenSlices(plan);
}

int64_t FrozenRank(const v1::TaskPlan& plan) {
  if (!KeepsFrozenSlices(plan) || plan.lora().layout().empty()) return 0;
  const v1::LayoutTensor& a = plan.lora().layout(0);
  // Also asked of plans that nobody has checked.
  if (a.shape().empty() || a.shape(0) < 0) return 0;
  return a.shape(0) - int64_t{plan.lora().rank()};
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
  if (KeepsFrozenSlices(plan)) {
    EDGETUNE_RETURN_IF_ERROR(CheckSliced(plan, adapter));
    return LayoutOfRank(adapter, plan.lora().rank());
  }
  return LayoutOf(adapter, UpdateFactors(plan, round));
}

absl::StatusOr<std::vector<CoordinateRange>> UpdateRanges(
    const v1::TaskPlan& plan, uint32_t round) {
  EDGETUNE_RETURN_IF_ERROR(CheckTrainingRound(plan, round));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout adapter, AdapterLayout(plan));
  if (KeepsFrozenSlices(plan)) {
    EDGETUNE_RETURN_IF_ERROR(CheckSliced(plan, adapter));
    return SliceRanges(adapter, plan.lora().rank());
  }
  return RangesOf(adapter, UpdateFactors(plan, round));
}

absl::StatusOr<std::vector<CoordinateRange>> StepRanges(
    const v1::TaskPlan& plan, uint32_t round) {
  if (!KeepsFrozenSlices(plan)) return UpdateRanges(plan, round);
  EDGETUNE_RETURN_IF_ERROR(CheckTrainingRound(plan, round));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout adapter, AdapterLayout(plan));
  return RangesOf(adapter, Factors::kBoth);
}

std::vector<std::string> PlanNotes(const v1::TaskPlan& plan) {
  std::vector<std::string> notes;
  AddMaskingNotes(plan, notes);
  AddAggregatorNotes(plan, notes);
  AddControlNotes(plan, notes);
  AddOwnFactorNotes(plan, notes);
  AddSliceNotes(plan, notes);
  AddFrozenNotes(plan, notes);
  AddProductNotes(plan, notes);
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
