#ifndef EDGETUNE_TOOLS_SIMULATION_RUN_DIRECTORY_H_
#define EDGETUNE_TOOLS_SIMULATION_RUN_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "simulations/fleet/step_journal.h"
#include "tools/federation/plan_builder.h"

namespace edgetune {

// What a simulation follows from, by name: every key of the run file, the
// digests of the files that it names, what else was asked for. Equal facts,
// equal bytes of adapter, log and report (with one build on one machine).
using RunFacts = std::map<std::string, std::string>;

// Of a prepared run; reads the files of its examples and devices to hash them.
absl::StatusOr<RunFacts> RunFactsOf(const PreparedRun& run);

// The directory of one simulation: run.json (its facts), events.jsonl, adapter,
// report, and while it is not finished `unfinished.steps`, a StepJournal, whose
// lock keeps a second process away. Removing that file, last, finishes it.
//
// Life: Open, then Finish or (of one that could not begin) Drop, or neither: a
// process that is killed may do so anywhere. One thread. Errors, kUsage: with
// `resume` InvalidArgument (other facts; says which), without it AlreadyExists
// (says whether it can be resumed); FailedPrecondition: another process is at
// it.
class RunDirectory {
 public:
  struct Options {
    std::string path;
    bool resume = false;      // go on with what is there; nothing: begin
    uint64_t most_bytes = 0;  // of the journal
  };
  static absl::StatusOr<std::unique_ptr<RunDirectory>> Open(
      const Options& options, const RunFacts& facts);

  // It was finished before; there is no journal.
  bool finished() const { return journal_ == nullptr; }
  // Something was there to go on with.
  bool resumed() const { return resumed_; }
  // Rounds committed in the log that was found.
  int64_t rounds() const { return rounds_; }
  StepJournal* journal() { return journal_.get(); }
  std::string log() const { return path_ + "/events.jsonl"; }
  std::string adapter() const { return path_ + "/adapter"; }
  std::string report() const { return path_ + "/report"; }

  absl::Status Finish();
  // All of it goes, unless it was resumed.
  void Drop();

 private:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}
  std::string steps() const { return path_ + "/unfinished.steps"; }
  std::string facts() const { return path_ + "/run.json"; }
  absl::Status CheckFacts(const RunFacts& wanted) const;
  absl::Status Begin(const RunFacts& facts);
  void Resume();
  absl::Status RemoveLeft() const;

  const std::string path_;
  bool resumed_ = false;
  int64_t rounds_ = 0;
  std::unique_ptr<StepJournal> journal_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_RUN_DIRECTORY_H_
