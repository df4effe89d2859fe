#ifndef EDGETUNE_SIMULATIONS_RUNNER_CENTRAL_TEST_H_
#define EDGETUNE_SIMULATIONS_RUNNER_CENTRAL_TEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"
#include "simulations/fleet/fleet_observer.h"
#include "simulations/runner/measuring.h"
#include "simulations/runner/run_logger.h"
#include "training/example_set.h"

namespace edgetune {

// Scores the versions of a run's adapter on examples that no client holds,
// while the run goes on and no virtual time passes: the initial one, each
// `every`-th and the last. Watches the run on behalf of its logger, which is
// told the scores. Life: make, Begin before the fleet's Run, then as
// FleetObserver, on its thread. Borrows what it is given.
class CentralTest final : public FleetObserver {
 public:
  struct Options {
    std::unique_ptr<ExampleSet> examples;
    uint32_t every = 1;   // versions
    uint32_t rounds = 0;  // version of the last
    RunLogger* logger;
    std::function<absl::StatusOr<Adapter>()> newest;
    // Made when the first score is due.
    std::function<absl::StatusOr<std::unique_ptr<Measuring>>()> measuring;
  };
  explicit CentralTest(Options options) : options_(std::move(options)) {}

  void OnSession(const SessionNews& news) override {
    options_.logger->OnSession(news);
  }
  void OnRun(absl::Time at, const v1::RunStatus& status) override;

  // The first error of a score, after which there are no more, or of the
  // logger; Cancelled: stopped.
  absl::Status status() const override {
    return status_.ok() ? options_.logger->status() : status_;
  }

 private:
  bool IsDue(uint32_t version) const;
  absl::StatusOr<Evaluation> Score();

  const Options options_;
  std::unique_ptr<Measuring> measuring_;
  std::optional<uint32_t> scored_;  // version
  absl::Status status_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_CENTRAL_TEST_H_
