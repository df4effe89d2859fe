#include "simulations/runner/measuring.h"

#include <cmath>
#include <utility>

#include "base/factors.h"
#include "base/status.h"
#include "client/train_plan.h"

namespace edgetune {
namespace {

// An example forward, and back at twice the work.
constexpr int64_t kPassesOfTraining = 3;

}  // namespace

int64_t PassesOf(const TrainConfig& config) {
  return kPassesOfTraining * config.steps * config.batch;
}

absl::StatusOr<std::unique_ptr<Measuring>> Measuring::Make(Options options) {
  const v1::TaskPlan& plan = *options.plan;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string engine, EngineOf(plan, "auto"));
  EDGETUNE_RETURN_IF_ERROR(options.models->UseEngine(engine));
  EDGETUNE_RETURN_IF_ERROR(options.models->Open(plan));
  // As devices without a memory budget load it, so theirs serves.
  EDGETUNE_RETURN_IF_ERROR(options.models->Load(plan, MemoryChoice{}));
  return std::unique_ptr<Measuring>(new Measuring(std::move(options)));
}

void Measuring::Begin(std::string what, int64_t total) {
  what_ = std::move(what);
  total_ = total;
  done_ = 0;
}

void Measuring::Show() {
  if (*options_.stop) halt_ = true;
  if (!options_.on_progress) return;
  options_.on_progress({.what = what_, .done = done_, .total = total_});
}

absl::Status Measuring::RunAll(std::vector<WorkerPool::Job> jobs) {
  std::vector<absl::Status> outcomes(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i] = [this, job = std::move(jobs[i]), outcome = &outcomes[i]] {
      if (!halt_) *outcome = job();
      if (!outcome->ok()) halt_ = true;
      return *outcome;
    };
  }
  (void)options_.workers->RunAll(std::move(jobs), [this] { Show(); });
  // Those that were halted say Cancelled, whoever failed first.
  for (const absl::Status& outcome : outcomes) {
    if (!outcome.ok() && !absl::IsCancelled(outcome)) return outcome;
  }
  return halt_ ? absl::CancelledError("the measuring was stopped")
               : absl::OkStatus();
}

absl::Status Measuring::Train(const TrainConfig& config,
                              const ExampleSource& examples, Adapter& adapter) {
  int64_t steps = 0;
  const auto count = [&](int64_t now) {
    Count(PassesOf(config) / config.steps * (now - steps));
    steps = now;
  };
  EDGETUNE_ASSIGN_OR_RETURN(
      const TrainResult result,
      trainer().Train(adapter, examples, config, nullptr, halt_,
                      [&](const TrainProgress& at) { count(at.step); }));
  if (result.stopped) return absl::CancelledError("training was stopped");
  count(config.steps);
  const auto ranges = TrainedRanges(adapter.layout, config);
  ParameterVector values = Gather(adapter.values, ranges);
  for (size_t i = 0; i < values.size(); ++i) values[i] += result.delta[i];
  Scatter(values, ranges, adapter.values);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> Measuring::Score(const Adapter& adapter,
                                            const ExampleSource& examples) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const Evaluation evaluation,
      trainer().Evaluate(adapter, examples, examples.size(), halt_));
  if (!std::isfinite(evaluation.nll_sum)) {
    return absl::DataLossError("the loss on held-out examples is not finite");
  }
  Count(examples.size());
  return evaluation;
}

}  // namespace edgetune
