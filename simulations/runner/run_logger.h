#ifndef EDGETUNE_SIMULATIONS_RUNNER_RUN_LOGGER_H_
#define EDGETUNE_SIMULATIONS_RUNNER_RUN_LOGGER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "simulations/fleet/fleet_observer.h"
#include "simulations/report/event_log.h"
#include "training/trainer.h"

namespace edgetune {

// How far a simulated run is, for people.
struct FleetProgress {
  uint32_t round = 0, rounds = 0, attempt = 0;
  int64_t selected = 0, answered = 0;  // in this round and attempt
  int64_t trainings = 0;               // accepted, in all rounds
  double perplexity = 0;               // newest measure; 0: none
  std::optional<double> accuracy;      // newest, of a central test
  absl::Duration virtual_time;
};

// Turns what a fleet's observer is told into lines of its log. Life: make, give
// it to a fleet, Finish. One thread. Borrows the log (null: nothing is
// written).
class RunLogger final : public FleetObserver {
 public:
  struct Client {
    std::string name, group;
  };
  struct Options {
    EventLog* log;
    absl::Time start;
    uint32_t rounds = 0;  // of training
    bool images = false;  // what clients hold
    std::vector<Client> clients;
    std::function<void(const FleetProgress&)> on_progress;
  };
  explicit RunLogger(Options options) : options_(std::move(options)) {
    progress_.rounds = options_.rounds;
  }

  void OnSession(const SessionNews& news) override;
  void OnRun(absl::Time at, const v1::RunStatus& status) override;
  // The first error of any line so far: the run ends with it.
  absl::Status status() const override { return status_; }

  // Of examples that no client holds, at this version of the adapter.
  void OnTest(absl::Time at, uint32_t version, const Evaluation& evaluation);
  // What else was measured; `group` empty: of all.
  void OnBaseline(absl::Time at, const std::string& name,
                  const std::optional<std::string>& group,
                  const Evaluation& evaluation);

  // The last line, and the first error of any.
  absl::Status Finish(absl::Time at, const v1::RunStatus& status);
  const FleetProgress& progress() const { return progress_; }

 private:
  void Write(RunEvent event, absl::Time at);
  RunEvent EventOf(const SessionNews& news) const;
  RunEvent EvaluationOf(const SessionNews& news) const;
  void BeginRound(const SessionNews& news);
  void WriteMeasures(absl::Time at, const v1::RunStatus& status);
  void WriteCommitted(absl::Time at, const v1::RunStatus& status);
  void WriteAbandoned(absl::Time at, const v1::RunStatus& status);
  void Show(absl::Time at);

  const Options options_;
  absl::Status status_;
  FleetProgress progress_;
  // Of the round in progress.
  std::pair<uint32_t, uint32_t> round_ = {};  // and attempt
  bool open_ = false;
  int64_t asked_ = 0;
  absl::Duration busy_;  // training of all
  // Of the last status.
  std::pair<uint32_t, uint32_t> next_ = {};  // round to be made, and attempt
  int measures_ = 0, cards_ = 1;
  uint64_t bytes_down_ = 0, bytes_up_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_RUN_LOGGER_H_
