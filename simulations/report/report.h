#ifndef EDGETUNE_SIMULATIONS_REPORT_REPORT_H_
#define EDGETUNE_SIMULATIONS_REPORT_REPORT_H_

// Reports as directories: whole or not there at all. Files and their columns
// are in docs/reference/report.md. Equal logs make equal bytes. Stateless; one
// thread a directory.
//
// Errors: AlreadyExists (something is at the place that is no report of ours,
// or holds a file that we did not write: kUsage), ResourceExhausted (disk
// full), those of AtomicDirectory.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "simulations/report/comparison.h"
#include "simulations/report/summary.h"

namespace edgetune {

// Whether WriteReport may write there; asked before the work.
absl::Status CheckReportPlace(const std::string& directory);

// index.html, rounds.csv, clients.csv, groups.csv, report.json and
// tb/events.out.tfevents.0.edgetune. An older report at the place goes.
absl::Status WriteReport(const RunSummary& run, const std::string& directory);

// index.html, comparison.csv and report.json of runs side by side.
absl::Status WriteComparison(const std::vector<RunSummary>& runs,
                             const Comparison& comparison,
                             const std::string& directory);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_REPORT_H_
