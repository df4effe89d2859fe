#ifndef EDGETUNE_SIMULATIONS_REPORT_COMPARISON_H_
#define EDGETUNE_SIMULATIONS_REPORT_COMPARISON_H_

// Several runs side by side. Plain values and stateless functions; any thread;
// nothing fails.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "simulations/report/summary.h"

namespace edgetune {

// A version that was measured, and what it took until then.
struct Milestone {
  int64_t round = 0;   // that made the version
  int64_t bytes = 0;   // down and up, of all rounds until then
  double seconds = 0;  // virtual, at the end of that round
  double perplexity = 0;
};
std::vector<Milestone> MilestonesOf(const RunSummary& run);
// The first that is not above `perplexity`.
std::optional<Milestone> FirstAt(const RunSummary& run, double perplexity);

struct ComparedRun {
  std::string label;                  // different for each run
  std::vector<std::string> settings;  // one for each of Comparison::differing
  std::optional<double> final_perplexity;
  std::optional<Milestone> reached;  // Comparison::target
};

struct Comparison {
  // Settings, and header fields, that are not the same in all runs, by name.
  std::vector<std::string> differing;
  // The perplexity to which rounds and bytes are counted: asked for, or the
  // lowest that every run reached; nullopt when a run measured nothing.
  std::optional<double> target;
  std::vector<ComparedRun> runs;  // in the order given
};

// Labels are the runs' names where these differ, else settings that tell the
// runs apart, else the directories.
Comparison Compare(const std::vector<RunSummary>& runs,
                   std::optional<double> target);
// comparison.csv, RFC 4180.
std::string ComparisonCsv(const Comparison& comparison);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_COMPARISON_H_
