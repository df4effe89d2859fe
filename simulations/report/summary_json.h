#ifndef EDGETUNE_SIMULATIONS_REPORT_SUMMARY_JSON_H_
#define EDGETUNE_SIMULATIONS_REPORT_SUMMARY_JSON_H_

// A report's figures for programs: report.json, and what `edgetune report
// --format json` prints. Figures that are not known, or are beyond a double,
// are null. Clients are in clients.csv alone. Stateless; any thread.

#include <nlohmann/json_fwd.hpp>

#include "simulations/report/comparison.h"
#include "simulations/report/summary.h"

namespace edgetune {

nlohmann::json SummaryJson(const RunSummary& run);
nlohmann::json ComparisonJson(const Comparison& comparison);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_SUMMARY_JSON_H_
