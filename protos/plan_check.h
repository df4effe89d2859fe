#ifndef EDGETUNE_PROTOS_PLAN_CHECK_H_
#define EDGETUNE_PROTOS_PLAN_CHECK_H_

// The one door of plans: everything downstream may rely on what is checked
// here. Pure functions, thread-safe.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/factors.h"
#include "base/parameters.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// Refuses an impossible, unsupported or out-of-range plan: InvalidArgument
// naming the field, what it holds and what is wanted. Does not look at clocks,
// signatures or blobs.
absl::Status CheckPlan(const v1::TaskPlan& plan);

// Parses and checks a plan's payload; unknown fields are refused.
absl::StatusOr<v1::TaskPlan> ParsePlan(std::string_view payload);
// Parses a manifest and checks what does not need its plan.
absl::StatusOr<v1::RoundManifest> ParseManifest(std::string_view payload);
absl::StatusOr<v1::ModelCard> ParseCard(std::string_view payload);
absl::StatusOr<v1::SpentOverride> ParseOverride(std::string_view payload);

// Layout of the whole adapter, as the plan states it.
absl::StatusOr<ParameterLayout> AdapterLayout(const v1::TaskPlan& plan);
// What a client sends in `round`, by lora.rule: "fedit" A and B; "ffa" B, while
// A stays what it was at first (Sun et al., 2024, "Improving LoRA in
// Privacy-preserving Federated Learning"); "rolora" B in even and A in odd
// rounds (Chen et al., 2025, "Robust Federated Finetuning of LLMs via
// Alternating Optimization of LoRA"); "fedsa" A (Guo et al., 2024, "Selective
// Aggregation for Low-Rank Adaptation in Federated Learning").
Factors UpdateFactors(const v1::TaskPlan& plan, uint32_t round);
// What it trains: the same, but under "fedsa" A and B.
Factors TrainedFactors(const v1::TaskPlan& plan, uint32_t round);
// Whether each client has a B of its own, which never leaves it ("fedsa"): the
// adapter's B, and what the coordinator publishes of it, stays as it was at
// first.
bool KeepsOwnFactor(const v1::TaskPlan& plan);
// Whether a device may train the first of the adapter's rank slices alone
// (base/rank_slices.h), as its own largest rank has it: "hetlora" (Cho et al.,
// 2024, "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation
// Models"), "flexlora" and "flora".
bool TrainsSlices(const v1::TaskPlan& plan);
// Whether the coordinator averages the products B A and cuts the mean to the
// rank ("flexlora": Bai et al., 2024, "Federated Fine-tuning of Large Language
// Models under Heterogeneous Tasks and Client Resources").
bool AveragesProducts(const v1::TaskPlan& plan);
// Whether modules have a core R between A and B, which stay as they were at
// first, and R alone is trained and sent ("fedsb": Singhal et al., 2025,
// "Fed-SB: A Silver Bullet for Extreme Communication Efficiency and Performance
// in (Private) Federated LoRA Fine-Tuning").
bool TrainsCores(const v1::TaskPlan& plan);
// Whether the adapter's slices beyond lora.rank are frozen: they stand for what
// the coordinator adds to the base so that the mean of the products B A is
// exact ("fedex": Singhal et al., 2024, "FedEx-LoRA: Exact Aggregation for
// Federated and Efficient Fine-Tuning of Foundation Models"; "flora": Wang et
// al., 2024, "FLoRA: Federated Fine-Tuning Large Language Models with
// Heterogeneous Low-Rank Adaptations"). Devices train and send the first
// lora.rank slices.
bool KeepsFrozenSlices(const v1::TaskPlan& plan);
// How many: what lora.layout has beyond lora.rank; 0 under other rules.
int64_t FrozenRank(const v1::TaskPlan& plan);
// Whether each round's factors are new ones ("flora"): all that was trained is
// in the frozen slices.
bool BeginsAnew(const v1::TaskPlan& plan);
// Whether the step of a round needs the adapter that it starts from.
bool StepsFromProducts(const v1::TaskPlan& plan);
// Layout of the factors that it sends, in the adapter's order. InvalidArgument:
// `round` is no training round.
absl::StatusOr<ParameterLayout> UpdateLayout(const v1::TaskPlan& plan,
                                             uint32_t round);
// Where its coordinates stand in the adapter. InvalidArgument as above.
absl::StatusOr<std::vector<CoordinateRange>> UpdateRanges(
    const v1::TaskPlan& plan, uint32_t round);
// Where those of the step that the coordinator makes of a round's updates
// stand: the same, but all where it moves frozen slices. InvalidArgument as
// above.
absl::StatusOr<std::vector<CoordinateRange>> StepRanges(
    const v1::TaskPlan& plan, uint32_t round);

// What a valid plan costs in precision or memory, and what it does not count:
// one line each, for people. Empty: nothing worth saying.
std::vector<std::string> PlanNotes(const v1::TaskPlan& plan);

// Clients asked in a round: round(cohort * over_select).
uint32_t CohortAsked(const v1::RoundsSpec& rounds);

// Whether rounds.aggregator has the coordinator hold all updates of a round.
bool HoldsEveryUpdate(const v1::RoundsSpec& rounds);
// The fewest updates that rounds.aggregator can combine (aggregation/
// combine_rule.h): 2f + 3 for Krum, where f is rounds.byzantine, 4f + 3 for
// Bulyan, as many as rounds.trim cuts one of for the trimmed mean.
uint64_t UpdatesNeeded(const v1::RoundsSpec& rounds);

// Bytes whose SHA-256 is the base's digest: u32 count, then for each part in
// order of name lp(name), u64 size, lp(sha256); big-endian, lp = u32 length +
// bytes. Hashing is the caller's (privacy/crypto).
std::string CanonicalBaseEncoding(std::vector<v1::FilePart> parts);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_PLAN_CHECK_H_
