#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_COMPARE_PAGE_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_COMPARE_PAGE_H_

#include <string>
#include <vector>

#include "simulations/report/comparison.h"
#include "simulations/report/summary.h"

namespace edgetune {

// The page of runs side by side, complete like that of one run: curves over
// rounds, bytes and virtual time, and a table. `comparison` is of `runs`.
// Stateless; any thread; nothing fails.
std::string RenderComparisonPage(const std::vector<RunSummary>& runs,
                                 const Comparison& comparison);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_COMPARE_PAGE_H_
