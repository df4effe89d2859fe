#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/status.h"
#include "simulations/report/report.h"
#include "simulations/report/summary_json.h"
#include "tools/simulation/summary_text.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct ReportOptions {
  std::vector<std::string> directories;
  std::string out;
  double target = 0;  // 0: the lowest that all runs reached
};

absl::StatusOr<std::string> PlaceOf(const ReportOptions& options) {
  if (!options.out.empty()) return options.out;
  if (options.directories.size() == 1) {
    return options.directories.front() + "/report";
  }
  return Annotate(
      absl::InvalidArgumentError("several runs have no place of their own"),
      ErrorKind::kUsage, "say where the comparison goes: --out DIR");
}

absl::Status Report(const ReportOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string place, PlaceOf(options));
  EDGETUNE_RETURN_IF_ERROR(CheckReportPlace(place));
  std::vector<RunSummary> runs;
  nlohmann::json data = {{"report", place}, {"runs", nlohmann::json::array()}};
  for (const std::string& directory : options.directories) {
    EDGETUNE_ASSIGN_OR_RETURN(RunSummary run, SummariseDirectory(directory));
    data["runs"].push_back(SummaryJson(run));
    runs.push_back(std::move(run));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(place));
  std::string text;
  if (runs.size() == 1) {
    EDGETUNE_RETURN_IF_ERROR(WriteReport(runs.front(), place));
    text = SummaryText(runs.front());
  } else {
    const Comparison comparison =
        Compare(runs, options.target > 0 ? std::optional(options.target)
                                         : std::nullopt);
    EDGETUNE_RETURN_IF_ERROR(WriteComparison(runs, comparison, place));
    data["comparison"] = ComparisonJson(comparison);
    text = ComparisonText(comparison);
  }
  return output.Finish(data, text + fmt::format("\n{}/index.html\n", place));
}

}  // namespace

void AddReportVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = AddVerb(
      app, invocation, "report",
      "A page, tables and TensorBoard curves of a run, or of several compared",
      [options, &output] { return Report(*options, output); });
  verb->add_option("directories", options->directories,
                   "Directories of runs, each with its events.jsonl")
      ->required();
  verb->add_option("--out", options->out,
                   "Where the report goes (default for one run: DIR/report); "
                   "an older report there is replaced");
  verb->add_option("--target", options->target,
                   "Perplexity to which rounds and bytes of several runs are "
                   "counted (default: the lowest that all reached)")
      ->check(CLI::PositiveNumber);
}

}  // namespace edgetune
