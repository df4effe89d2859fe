// Writes the report of one directory, or of several side by side, for tests
// that read it with other programs' eyes: write_report DIR... OUT.

#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "simulations/report/report.h"

namespace edgetune {
namespace {

absl::Status Main(const std::vector<std::string>& arguments) {
  std::vector<RunSummary> runs;
  for (size_t i = 0; i + 1 < arguments.size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(RunSummary run, SummariseDirectory(arguments[i]));
    runs.push_back(std::move(run));
  }
  if (runs.empty())
    return absl::InvalidArgumentError("write_report DIR... OUT");
  if (runs.size() == 1) return WriteReport(runs.front(), arguments.back());
  return WriteComparison(runs, Compare(runs, std::nullopt), arguments.back());
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  const absl::Status status = edgetune::Main({argv + 1, argv + argc});
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
