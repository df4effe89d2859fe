#ifndef EDGETUNE_SIMULATIONS_RUNNER_BASELINES_H_
#define EDGETUNE_SIMULATIONS_RUNNER_BASELINES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "simulations/runner/measuring.h"
#include "training/trainer.h"

namespace edgetune {

// What other ways of training reach with the data, the base model, the initial
// adapter and the settings of a federated run, each scored on all held-out
// examples of the same clients:
//
// local      each client alone makes the segments of training that it makes in
//            a run where it takes part in every round: TrainConfigOf its round,
//            the change added as it is. Scored on its own held-out examples.
// central    one client that has the training examples of all makes in every
//            round the steps of a whole cohort (CentralConfigOf), the change
//            added as it is: it sees as many examples as the federated run.
// federated  the run's last adapter.
//
// Adversaries change nothing here: all of them train on honest examples.
struct Baseline {
  std::string name;
  std::vector<Evaluation> clients;  // as BaselineReport::clients
};
struct BaselineReport {
  std::vector<size_t> clients;      // measured; their places in the partition
  size_t of = 0;                    // all clients that hold something out
  std::vector<Baseline> baselines;  // local, central, federated
};

struct BaselineTask {
  const Adapter& initial;
  const Adapter& federated;
  // How many clients are measured: the first so many with held-out examples in
  // an order that the plan's seed draws; 0: all. `central` trains on the
  // examples of all in either case.
  size_t clients = 0;
};

// Deterministic, whatever the workers. Errors of training and scoring;
// Cancelled; FailedPrecondition (kData): no client has held-out examples.
absl::StatusOr<BaselineReport> MeasureBaselines(const BaselineTask& task,
                                                Measuring& measuring);

// Of the pooled training examples of `clients` clients: the plan's settings
// with cohort * train.steps steps. With train.epochs: as many steps as cohort *
// epochs passes over the mean client's examples need, rounded up. The optimiser
// starts fresh in each round, as on a device; warm-up is the same share of all
// steps; rounds.over_select counts for nothing.
struct PooledExamples {
  size_t clients = 0;
  int64_t examples = 0;
};
TrainConfig CentralConfigOf(const v1::TaskPlan& plan, uint32_t round,
                            const PooledExamples& pooled);

// Summed over clients.
Evaluation TotalOf(const Baseline& baseline);
// Mean of the clients' perplexities, each counting once.
double MeanPerplexity(const Baseline& baseline);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_BASELINES_H_
