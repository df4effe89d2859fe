#include "simulations/report/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/atomic_directory.h"
#include "base/status.h"
#include "models/io/strict_json.h"
#include "simulations/report/csv_tables.h"
#include "simulations/report/page/compare_page.h"
#include "simulations/report/page/run_page.h"
#include "simulations/report/summary_json.h"
#include "simulations/report/tensorboard.h"

namespace edgetune {
namespace {

using nlohmann::json;

constexpr int kReportSchema = 1;
constexpr const char* kEventFile = "tb/events.out.tfevents.0.edgetune";

absl::Status NotOurs(const std::string& directory, std::string_view why) {
  return Annotate(absl::AlreadyExistsError(
                      fmt::format("{} is there and {}", directory, why)),
                  ErrorKind::kUsage,
                  "name another place with --out; only a report of this "
                  "program is replaced");
}

// report.json says what wrote it, and so that it may be replaced.
bool SaysItIsOurs(const std::string& directory) {
  const auto text = ReadFile(directory + "/report.json");
  if (!text.ok()) return false;
  const auto parsed = ParseStrictJson(*text, "report.json");
  return parsed.ok() && parsed->is_object() &&
         parsed->contains("edgetune_report");
}

std::string ReportJson(json runs, json comparison) {
  return json{{"edgetune_report", kReportSchema},
              {"runs", std::move(runs)},
              {"comparison", std::move(comparison)}}
             .dump(1) +
         "\n";
}

using Files = std::vector<std::pair<std::string, std::string>>;

absl::Status Write(const Files& files, const std::string& directory) {
  EDGETUNE_RETURN_IF_ERROR(CheckReportPlace(directory));
  EDGETUNE_ASSIGN_OR_RETURN(const auto out,
                            AtomicDirectory::CreateReplacing(directory));
  for (const auto& [name, text] : files) {
    const auto parent = std::filesystem::path(out->PathOf(name)).parent_path();
    EDGETUNE_RETURN_IF_ERROR(MakeDirectories(parent));
    EDGETUNE_RETURN_IF_ERROR(out->Write(name, text));
  }
  return out->Commit();
}

}  // namespace

absl::Status CheckReportPlace(const std::string& directory) {
  namespace fs = std::filesystem;
  static const std::set<std::string> kOurs = {
      "index.html",     "rounds.csv",  "clients.csv", "groups.csv",
      "comparison.csv", "report.json", "tb",          kEventFile};
  std::error_code error;
  const fs::file_status status = fs::symlink_status(directory, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (error || status.type() != fs::file_type::directory) {
    return NotOurs(directory, "is no directory");
  }
  if (!SaysItIsOurs(directory)) return NotOurs(directory, "is no report");
  fs::recursive_directory_iterator entry(directory, error);
  for (; !error && entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().lexically_relative(directory);
    if (!kOurs.contains(name)) return NotOurs(directory, "holds " + name);
  }
  if (error) return ErrnoStatus(error.value(), "cannot read", directory);
  return absl::OkStatus();
}

absl::Status WriteReport(const RunSummary& run, const std::string& directory) {
  return Write(
      {{"index.html", RenderRunPage(run)},
       {"rounds.csv", RoundsCsv(run)},
       {"clients.csv", ClientsCsv(run)},
       {"groups.csv", GroupsCsv(run)},
       {"report.json", ReportJson(json::array({SummaryJson(run)}), nullptr)},
       {kEventFile, TensorBoardScalars(run)}},
      directory);
}

absl::Status WriteComparison(const std::vector<RunSummary>& runs,
                             const Comparison& comparison,
                             const std::string& directory) {
  json all = json::array();
  for (const RunSummary& run : runs) all.push_back(SummaryJson(run));
  return Write(
      {{"index.html", RenderComparisonPage(runs, comparison)},
       {"comparison.csv", ComparisonCsv(comparison)},
       {"report.json", ReportJson(std::move(all), ComparisonJson(comparison))}},
      directory);
}

}  // namespace edgetune
