#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_PAGE_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_PAGE_H_

#include <string>

#include "simulations/report/summary.h"

namespace edgetune {

// The page of one run, complete: it asks for no other file and runs no script.
// Stateless; any thread; nothing fails.
std::string RenderRunPage(const RunSummary& run);

// The name, or the first digits of the run; text.
std::string NameOfRun(const RunHeader& header);
// "stops after round 7 ...", for a log without its end; "" for a whole one.
std::string IncompleteText(const RunSummary& run);
// What no page of a report can tell of these runs; markup.
std::string LimitsSection(bool any_masked);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_PAGE_H_
