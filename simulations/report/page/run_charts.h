#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_CHARTS_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_CHARTS_H_

// The figures of one run, as markup. Where the log has nothing to draw, "".
// Stateless; any thread.

#include <string>
#include <vector>

#include "simulations/report/page/chart.h"
#include "simulations/report/summary.h"

namespace edgetune {

std::string PerplexityFigure(const RunSummary& run);   // with baselines
std::string AccuracyFigure(const RunSummary& run);     // of images
std::string FunnelFigure(const RunSummary& run);       // by round
std::string BytesFigure(const RunSummary& run);        // by round
std::string UtilisationFigure(const RunSummary& run);  // over virtual time

// The groups with the highest perplexity, that one first, and how many a chart
// and a table of them show.
inline constexpr size_t kMostGroups = 30;
std::vector<const GroupSummary*> WorstGroups(const RunSummary& run);
std::string FairnessFigure(const RunSummary& run);

// Version and perplexity of every version that was measured and is finite.
std::vector<std::pair<double, double>> PerplexityPoints(const RunSummary& run);

// A unit in which numbers up to `most` are short.
struct Unit {
  double size = 1;
  std::string name;
};
Unit BytesUnit(double most);    // "MB"
Unit SecondsUnit(double most);  // "hours"

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_RUN_CHARTS_H_
