#ifndef EDGETUNE_AGGREGATION_UPDATE_FOLD_H_
#define EDGETUNE_AGGREGATION_UPDATE_FOLD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/aggregator.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// What a report says of its update. Which of them count is the fold's matter.
struct UpdateTerms {
  double weight = 1;         // at most the aggregator's cap
  int64_t steps = 0;         // local optimiser steps behind it
  double incoming_loss = 0;  // nats a token of the incoming adapter
  int64_t rank = 0;          // slices trained; 0: all
};

// One training round's updates under the plan's weighing: an Aggregator of its
// own, and what it takes beside the weight. Life: Add and Merge in any order,
// then Finish; what Finish gives depends on the set of updates alone. Memory:
// that of the aggregators and two numbers an update. One thread.
class UpdateFold {
 public:
  virtual ~UpdateFold() = default;
  // As Aggregator::Accumulate: a refused update changes nothing.
  // InvalidArgument also: steps or a loss that no update can have.
  virtual absl::Status Add(std::span<const float> update,
                           const UpdateTerms& terms) = 0;
  // `other` is of the same kind and settings (InvalidArgument). After an error
  // this fold is to be dropped.
  virtual absl::Status Merge(const UpdateFold& other) = 0;
  // FailedPrecondition: nothing was added. weight_sum is that of the terms.
  virtual absl::StatusOr<Aggregator::Result> Finish() const = 0;
};

// The aggregator alone, by weight.
std::unique_ptr<UpdateFold> MakePlainFold(std::unique_ptr<Aggregator> sum);

// SGD at one rate, as FedNova counts its steps.
struct LocalSolver {
  double momentum = 0;
  double pull = 0;  // rate * mu of a proximal term, in [0, 1); 0: none
  bool operator==(const LocalSolver&) const = default;
};

// ||a||_1 of Wang et al. 2020 ("Tackling the Objective Inconsistency Problem in
// Heterogeneous Federated Optimization", section 4): how far `steps` local
// steps go along one constant gradient, in rates. At least 1; `steps` itself
// for plain SGD. Not both momentum and pull.
double AccumulatedSteps(const LocalSolver& solver, int64_t steps);

// FedNova, there section 5, with p = weights over their sum: updates D_i are
// averaged per accumulated step and given the mean of the steps back,
//   (sum p_i ||a_i||) * sum p_i D_i / ||a_i||.
// Where all make equal steps it is the weighted mean. `sum` is a weighted mean.
std::unique_ptr<UpdateFold> MakePerStepFold(std::unique_ptr<Aggregator> sum,
                                            const LocalSolver& solver);

struct FairnessOptions {
  double q = 1;   // above 0
  double lr = 1;  // the devices' rate: 1 / L
  bool operator==(const FairnessOptions&) const = default;
};
using AggregatorMaker =
    std::function<absl::StatusOr<std::unique_ptr<Aggregator>>()>;

// q-FedAvg (Li et al. 2020, "Fair Resource Allocation in Federated Learning",
// Algorithm 2). Of an update D_k at incoming loss F_k, with L = 1 / lr and the
// paper's Dw_k = -L D_k, the step is
//   sum w_k F_k^q L D_k / sum w_k (q F_k^(q-1) ||L D_k||^2 + L F_k^q);
// w_k are the weights, the paper's p_k. With q to 0 it is the weighted mean.
// Powers of losses span many magnitudes: updates are summed in exact weighted
// means (`make`, all alike) each of which takes weights within a factor 2^8.
std::unique_ptr<UpdateFold> MakeFairFold(AggregatorMaker make,
                                         const FairnessOptions& options);

// HetLoRA with a mean a rank slice (Cho et al. 2024, section 3.3, has one mean
// over zero-padded updates; Koo et al. 2024, "Towards Robust and Efficient
// Federated Low-Rank Adaptation with Heterogeneous Clients", why padding must
// not count): coordinates of slice j become
//   sum w_i D_i / sum w_i over the devices i with rank > j,
// and stay where no device trained them. `layout` is the update's
// (base/rank_slices.h); an update that is not zero beyond its rank is refused.
// Where all trained all slices it is the weighted mean. `sum` is a weighted
// mean.
std::unique_ptr<UpdateFold> MakeSliceFold(std::unique_ptr<Aggregator> sum,
                                          const ParameterLayout& layout);

// What a round's updates start from. `adapter` is needed where the plan's rule
// steps from products (StepsFromProducts) alone.
struct FoldStart {
  ParameterVector adapter;
  uint32_t round = 0;
};

// The fold of lora.rule, rounds.normalise and rounds.fairness_q of a checked
// plan. Its mean is laid out by StepRanges.
absl::StatusOr<std::unique_ptr<UpdateFold>> MakeUpdateFold(
    const v1::TaskPlan& plan, AggregatorMaker make, FoldStart start = {});

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_UPDATE_FOLD_H_
