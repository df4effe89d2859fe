#ifndef EDGETUNE_CLIENT_TRAIN_PLAN_H_
#define EDGETUNE_CLIENT_TRAIN_PLAN_H_

// What a checked plan means for one client's local work. The client, the
// single-machine verb `train` and simulations all go through these functions:
// that is why the same plan and data give the same update everywhere
// (decisions 12, 14, 30). Pure, thread-safe.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/parameters.h"
#include "models/io/adapter/adapter_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/engine_loader.h"
#include "training/memory_prediction.h"
#include "training/text_data_set.h"
#include "training/trainer.h"

namespace edgetune {

// Decides the order of examples of one client in one round:
//   Random(plan seed).Split("client/" + data name, round).Next()
// where the data name is `[data] name`, by default the stem of the training
// file. Nothing else enters: not the device, not the nonce, not the cohort.
uint64_t ClientSeed(uint64_t plan_seed, uint32_t round,
                    std::string_view data_name);

// Decides which examples are held out when there is no held-out file; the same
// in every round, so that none is ever trained on:
//   Random(plan seed).Split("heldout/" + data name).Next()
uint64_t HeldOutSeed(uint64_t plan_seed, std::string_view data_name);

// What of a client's training data its segments depend on.
struct TrainingData {
  std::string name;
  int64_t examples = 0;
};

// The segment of training of `round` < rounds.count on this data, which passed
// CheckExamples.
TrainConfig TrainConfigOf(const v1::TaskPlan& plan, uint32_t round,
                          const TrainingData& data);
// Rank that a device trains whose largest is `largest` (0: any): the plan's, or
// where devices may train slices (TrainsSlices) the smaller of the two.
// FailedPrecondition: the plan's is above it, and its rule wants all of it.
absl::StatusOr<int64_t> RankOf(const v1::TaskPlan& plan, int64_t largest);
// What a device that trains `rank` slices takes of the plan's adapter: those,
// and all that are frozen.
Adapter PartOf(const v1::TaskPlan& plan, Adapter adapter, int64_t rank);
// What of a segment's delta (TrainResult) a device sends: all of it, but where
// factors stay on the device (KeepsOwnFactor) those of UpdateFactors, the rest
// being added to `adapter`, the one that the segment began with; with zeros for
// the rank slices that `adapter` lacks.
ParameterVector TakeSent(const v1::TaskPlan& plan, uint32_t round,
                         ParameterVector delta, Adapter& adapter);
// FailedPrecondition: the plan's epochs over so many training examples are more
// steps than a round may have.
absl::Status CheckExamples(const v1::TaskPlan& plan, int64_t examples);
// Of the whole adapter, with its frozen slices (FrozenRank).
AdapterSpec AdapterSpecOf(const v1::TaskPlan& plan);
TextDataOptions DataOptionsOf(const v1::TaskPlan& plan);
// `threads` 0: all cores. Without a choice, the engine's own.
EngineOptions EngineOptionsOf(const v1::TaskPlan& plan, int64_t threads,
                              const MemoryChoice& choice = {});

// The loss a token that rounds.fairness_q weighs an update by, of the incoming
// adapter on the first rounds.eval_examples training examples; at least
// kLeastIncomingLoss. DataLoss: it is beyond kLargestIncomingLoss or none.
absl::StatusOr<double> IncomingLossOf(const Evaluation& evaluation);

// min(labelled examples, the plan's cap).
double WeightOf(const v1::TaskPlan& plan, int64_t examples);

// The plan's engine, or the device's where the plan leaves it open ("auto").
// FailedPrecondition: the plan wants another than the device's setting.
absl::StatusOr<std::string> EngineOf(const v1::TaskPlan& plan,
                                     const std::string& device_engine);
// InvalidArgument: the plan's layout is not that of its LoRA settings on this
// base model.
absl::Status CheckLayout(const v1::TaskPlan& plan, const ModelConfig& model);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_TRAIN_PLAN_H_
