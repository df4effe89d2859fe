#ifndef EDGETUNE_SIMULATIONS_RUNNER_MEASURING_H_
#define EDGETUNE_SIMULATIONS_RUNNER_MEASURING_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/base_models.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "simulations/fleet/worker_pool.h"
#include "simulations/runner/fleet_data.h"

namespace edgetune {

// How far that is which follows a fleet's run, for people. An example that is
// scored counts 1, one that is trained on 3: what a pass forward and one back
// take.
struct MeasuringProgress {
  std::string what;
  int64_t done = 0, total = 0;
};

// Computes on a fleet's workers after its run: jobs that stop together, at the
// user's wish or when one of them fails. Life: Make, then Begin and RunAll of
// one task after the other, on one thread; the rest is the jobs', on any.
// Borrows what it is given.
class Measuring {
 public:
  struct Options {
    const v1::TaskPlan* plan;
    const FleetData* data;
    WorkerPool* workers;
    BaseModels* models;
    const StopToken* stop;
    std::function<void(const MeasuringProgress&)> on_progress;  // may be empty
  };
  // Loads the plan's engine into `models`; errors of that.
  static absl::StatusOr<std::unique_ptr<Measuring>> Make(Options options);

  // `total` as of Progress.
  void Begin(std::string what, int64_t total);
  // Cancelled: stopped; else the error of the first job that has one.
  absl::Status RunAll(std::vector<WorkerPool::Job> jobs);

  const v1::TaskPlan& plan() const { return *options_.plan; }
  const FleetData& data() const { return *options_.data; }
  // Within a job: that of its worker.
  Trainer& trainer() const { return options_.models->trainer(); }
  const StopToken& halt() const { return halt_; }
  void Count(int64_t passes) { done_ += passes; }

  // Adds what training makes of it to `adapter`. Cancelled: stopped.
  absl::Status Train(const TrainConfig& config, const ExampleSource& examples,
                     Adapter& adapter);
  // Of all of them. DataLoss: the loss is not finite.
  absl::StatusOr<Evaluation> Score(const Adapter& adapter,
                                   const ExampleSource& examples);

 private:
  explicit Measuring(Options options) : options_(std::move(options)) {}
  void Show();

  const Options options_;
  StopToken halt_{false};
  std::string what_;
  int64_t total_ = 0;
  std::atomic<int64_t> done_{0};
};

// What Count is told of a training like this.
int64_t PassesOf(const TrainConfig& config);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_MEASURING_H_
