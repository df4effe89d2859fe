#ifndef EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_
#define EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_

#include <string>

#include "simulations/report/summary.h"

namespace edgetune {

// One run in seven lines, for people. Stateless.
std::string SummaryText(const RunSummary& run);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_SUMMARY_TEXT_H_
