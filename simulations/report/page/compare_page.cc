#include "simulations/report/page/compare_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "simulations/report/page/chart.h"
#include "simulations/report/page/html.h"
#include "simulations/report/page/run_charts.h"
#include "simulations/report/page/run_page.h"

namespace edgetune {
namespace {

// What curves are drawn against.
struct Cost {
  Figure figure;
  std::string x_name;  // after the unit
  double (*of)(const Milestone&);
  Unit (*unit)(double most);
};

std::vector<Series> CurvesOf(const std::vector<RunSummary>& runs,
                             const Comparison& comparison, const Cost& cost) {
  std::vector<Series> curves;
  for (size_t i = 0; i < runs.size(); ++i) {
    Series series{.name = comparison.runs[i].label, .points = {}};
    for (const Milestone& progress : MilestonesOf(runs[i])) {
      if (!std::isfinite(progress.perplexity)) continue;
      series.points.emplace_back(cost.of(progress), progress.perplexity);
    }
    curves.push_back(std::move(series));
  }
  return curves;
}

std::string Curves(const std::vector<RunSummary>& runs,
                   const Comparison& comparison, const Cost& cost) {
  LineChart chart;
  chart.figure = cost.figure;
  chart.figure.note = "Lower is better; the axis need not begin at zero.";
  chart.figure.description = "The table below has the figures.";
  chart.y_name = "perplexity";
  chart.whole_x = cost.figure.hero;
  chart.series = CurvesOf(runs, comparison, cost);
  double most = 0;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) most = std::max(most, x);
  }
  const Unit unit = cost.unit(most);
  chart.x_name = unit.name + cost.x_name;
  for (Series& series : chart.series) {
    for (auto& [x, y] : series.points) x /= unit.size;
  }
  if (comparison.target && std::isfinite(*comparison.target) &&
      cost.figure.hero) {
    chart.references.push_back({"target", *comparison.target});
  }
  return RenderLineChart(chart);
}

std::string Figures(const std::vector<RunSummary>& runs,
                    const Comparison& comparison) {
  const Cost costs[] = {
      {{.id = "rounds", .title = "Perplexity by round", .hero = true},
       "round",
       [](const Milestone& at) { return static_cast<double>(at.round); },
       [](double) { return Unit{}; }},
      {{.id = "bytes", .title = "Perplexity by bytes sent"},
       " down and up, all devices",
       [](const Milestone& at) { return static_cast<double>(at.bytes); },
       BytesUnit},
      {{.id = "time", .title = "Perplexity by virtual time"},
       " of virtual time",
       [](const Milestone& at) { return at.seconds; },
       SecondsUnit}};
  std::string figures;
  for (const Cost& cost : costs) figures += Curves(runs, comparison, cost);
  if (figures.empty()) {
    return Paragraph("No run has a measure of perplexity in its log.");
  }
  return fmt::format("<div class=\"figures\">\n{}</div>\n", figures);
}

std::string Results(const std::vector<RunSummary>& runs,
                    const Comparison& comparison) {
  const std::string target = comparison.target
                                 ? PerplexityText(*comparison.target)
                                 : std::string(kDash);
  HtmlTable table;
  table.caption = "Rounds, bytes and virtual time until perplexity " + target +
                  " was first reached, on which all can be compared";
  table.head = {"run",         "final perplexity", "rounds to " + target,
                "bytes to it", "time to it",       "all bytes",
                "all time",    "utilisation",      "Jain index of clients"};
  for (size_t i = 0; i < runs.size(); ++i) {
    const ComparedRun& row = comparison.runs[i];
    const RunSummary& run = runs[i];
    const auto or_dash = [](bool known, std::string text) {
      return known ? std::move(text) : std::string(kDash);
    };
    const Milestone at = row.reached.value_or(Milestone{});
    const bool reached = row.reached.has_value();
    table.rows.push_back(
        {row.label,
         or_dash(row.final_perplexity.has_value(),
                 PerplexityText(row.final_perplexity.value_or(0))),
         or_dash(reached, Grouped(at.round)),
         or_dash(reached, BytesText(at.bytes)),
         or_dash(reached, FormatSeconds(at.seconds)),
         BytesText(SaturatedSum(run.bytes_down, run.bytes_up)),
         FormatSeconds(run.span_s),
         or_dash(run.utilisation.has_value(),
                 PercentText(run.utilisation.value_or(0))),
         run.spread ? fmt::format("{:.3f}", run.spread->jain)
                    : std::string(AbsentText(run.header.masked))});
  }
  return RenderTable(table);
}

std::string Differences(const std::vector<RunSummary>& runs,
                        const Comparison& comparison) {
  if (comparison.differing.empty()) {
    return Paragraph("The logs state the same settings for all runs.");
  }
  HtmlTable table{.caption = "Settings that are not the same in all runs",
                  .head = {"run"},
                  .rows = {},
                  .texts = comparison.differing.size() + 1};
  for (const std::string& key : comparison.differing) table.head.push_back(key);
  for (const ComparedRun& run : comparison.runs) {
    table.rows.push_back({run.label});
    for (const std::string& value : run.settings) {
      table.rows.back().push_back(value.empty() ? std::string(kDash) : value);
    }
  }
  return RenderTable(table);
}

}  // namespace

std::string RenderComparisonPage(const std::vector<RunSummary>& runs,
                                 const Comparison& comparison) {
  const std::string title = fmt::format("{} runs compared", runs.size());
  std::string body = fmt::format("<header><h1>{}</h1></header>\n", title);
  bool masked = false;
  for (size_t i = 0; i < runs.size(); ++i) {
    masked = masked || runs[i].header.masked;
    const std::string incomplete = IncompleteText(runs[i]);
    if (incomplete.empty()) continue;
    body +=
        fmt::format("<p class=\"warn\">{}: {}</p>\n",
                    HtmlText(comparison.runs[i].label), HtmlText(incomplete));
  }
  body += Figures(runs, comparison);
  body += Section("Results", Results(runs, comparison));
  body += Section("Differences", Differences(runs, comparison));
  return RenderPage(title, body + LimitsSection(masked));
}

}  // namespace edgetune
