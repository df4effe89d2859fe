#ifndef EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_
#define EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_

#include <string>

#include "simulations/report/comparison.h"
#include "simulations/report/summary.h"

namespace edgetune {

// What people read of runs on a terminal. Stateless.

// One run in eight lines, and one for each reason for which devices declined.
std::string SummaryText(const RunSummary& run);
// Several, one a line.
std::string ComparisonText(const Comparison& comparison);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_
