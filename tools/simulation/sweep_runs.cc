#include "tools/simulation/sweep_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "simulations/report/page/html.h"
#include "simulations/report/report.h"
#include "simulations/report/summary_json.h"
#include "tools/child_process.h"
#include "tools/simulation/simulated_run.h"
#include "tools/simulation/summary_text.h"

namespace edgetune {
namespace {

// What the log of every run says under a name of its own.
constexpr std::array<std::string_view, 11> kLogged = {kSeedKey,
                                                      "rounds.count",
                                                      "rounds.cohort",
                                                      "rounds.aggregator",
                                                      "rounds.server_optimizer",
                                                      "lora.rule",
                                                      "secagg.enabled",
                                                      "simulation.clients",
                                                      "simulation.devices",
                                                      "simulation.partition",
                                                      "simulation.trainer"};

class Sweep {
 public:
  Sweep(const SweepOptions& options, const Output& output)
      : options_(options), output_(output), points_(PointsOf(options.keys)) {
    results_.resize(points_.size());
  }

  absl::Status Run() {
    EDGETUNE_RETURN_IF_ERROR(CheckAll());
    if (!options_.resume) {
      EDGETUNE_RETURN_IF_ERROR(CheckNew(options_.directory));
    }
    for (size_t i = 0; i < points_.size() && !Interrupted(); ++i) RunPoint(i);
    EDGETUNE_RETURN_IF_ERROR(Compare());
    // With --format json the error's envelope is the only one.
    if (!output_.json() || Outcome().ok()) {
      EDGETUNE_RETURN_IF_ERROR(output_.Finish(Json(), Text()));
    }
    return Outcome();
  }

 private:
  struct Result {
    std::optional<SimulatedRun> run;  // that finished
    std::string error;                // of one that did not
  };

  std::vector<std::string> SetsOf(const SweepPoint& point) const {
    std::vector<std::string> sets = options_.sets;
    for (size_t k = 0; k < options_.keys.size(); ++k) {
      sets.push_back(options_.keys[k].key + "=" + point.values[k]);
    }
    return sets;
  }

  absl::Status CheckAll() const {
    for (const SweepPoint& point : points_) {
      if (Interrupted()) return absl::CancelledError("stopped");
      const auto run = PrepareSimulation(options_.run_file, SetsOf(point));
      if (!run.ok()) return Prefix(run.status(), "run " + point.name);
    }
    return absl::OkStatus();
  }

  void RunPoint(size_t i) {
    absl::StatusOr<SimulatedRun> run = Simulate(i);
    const absl::Status status = run.ok() ? run->outcome : run.status();
    if (status.ok()) {
      results_[i].run = *std::move(run);
      return;
    }
    results_[i].error = std::string(status.message());
    if (!Interrupted()) output_.Note(Title(i) + "failed: " + results_[i].error);
  }

  absl::StatusOr<SimulatedRun> Simulate(size_t i) const {
    const SweepPoint& point = points_[i];
    EDGETUNE_ASSIGN_OR_RETURN(
        const PreparedRun run,
        PrepareSimulation(options_.run_file, SetsOf(point)));
    SimulatedRunOptions options;
    options.directory = options_.directory + "/" + point.name;
    options.resume = options_.resume;
    options.resume_space = options_.resume_space;
    options.workers = options_.workers;
    options.memory = options_.memory;
    options.title = Title(i);
    for (size_t k = 0; k < options_.keys.size(); ++k) {
      const std::string& key = options_.keys[k].key;
      if (std::ranges::find(kLogged, key) == kLogged.end()) {
        options.settings[key] = point.values[k];
      }
    }
    return RunSimulation(run, options, output_);
  }

  std::string Title(size_t i) const {
    return fmt::format("run {} of {}, {}: ", i + 1, points_.size(),
                       points_[i].name);
  }

  // Those that finished, if any did.
  absl::Status Compare() {
    std::vector<RunSummary> runs;
    for (const Result& result : results_) {
      if (result.run) runs.push_back(result.run->summary);
    }
    if (runs.empty()) return absl::OkStatus();
    comparison_ = edgetune::Compare(runs, std::nullopt);
    // The names of the directories, whatever the logs would tell apart.
    size_t next = 0;
    for (size_t i = 0; i < points_.size(); ++i) {
      if (results_[i].run) comparison_.runs[next++].label = points_[i].name;
    }
    return WriteComparison(runs, comparison_, ComparisonDirectory());
  }

  std::string ComparisonDirectory() const {
    return options_.directory + "/comparison";
  }

  // Of each point.
  std::vector<std::optional<double>> Perplexities() const {
    std::vector<std::optional<double>> perplexities;
    size_t next = 0;
    for (const Result& result : results_) {
      perplexities.push_back(result.run
                                 ? comparison_.runs[next++].final_perplexity
                                 : std::nullopt);
    }
    return perplexities;
  }

  std::string SeedText() const {
    std::vector<std::vector<std::string>> cells = {
        {"over seeds", "runs", "perplexity", "deviation"}};
    for (const SeedSpread& spread :
         SpreadOverSeeds(options_.keys, Perplexities())) {
      const auto figure = [](const std::optional<double>& x) {
        return x ? PerplexityText(*x) : std::string("-");
      };
      cells.push_back({spread.name.empty() ? "all" : spread.name,
                       std::to_string(spread.runs), figure(spread.mean),
                       figure(spread.deviation)});
    }
    return cells.size() == 1 ? "" : "\n" + FormatTable(cells, {1, 2, 3});
  }

  std::string Text() const {
    std::string failed;
    for (size_t i = 0; i < points_.size(); ++i) {
      if (results_[i].run) continue;
      failed += fmt::format("\n{} {}", points_[i].name,
                            results_[i].error.empty()
                                ? "was not begun"
                                : "failed: " + results_[i].error);
    }
    if (comparison_.runs.empty()) return failed + "\n";
    return ComparisonText(comparison_) + SeedText() + failed +
           fmt::format("\n{}/index.html\n", ComparisonDirectory());
  }

  nlohmann::json Json() const {
    nlohmann::json runs = nlohmann::json::array(), seeds = runs;
    const auto perplexities = Perplexities();
    const auto number = [](const std::optional<double>& x) {
      return x ? nlohmann::json(*x) : nlohmann::json(nullptr);
    };
    for (size_t i = 0; i < points_.size(); ++i) {
      nlohmann::json values = nlohmann::json::object();
      for (size_t k = 0; k < options_.keys.size(); ++k) {
        values[options_.keys[k].key] = points_[i].values[k];
      }
      runs.push_back({{"name", points_[i].name},
                      {"directory", options_.directory + "/" + points_[i].name},
                      {"values", values},
                      {"perplexity", number(perplexities[i])}});
    }
    for (const auto& spread : SpreadOverSeeds(options_.keys, perplexities)) {
      seeds.push_back({{"name", spread.name},
                       {"runs", spread.runs},
                       {"mean", number(spread.mean)},
                       {"deviation", number(spread.deviation)}});
    }
    return {{"directory", options_.directory},
            {"runs", runs},
            {"seeds", seeds},
            {"report", ComparisonDirectory()},
            {"comparison", ComparisonJson(comparison_)}};
  }

  absl::Status Outcome() const {
    const auto finished = std::ranges::count_if(
        results_, [](const Result& result) { return result.run.has_value(); });
    const auto all = static_cast<ptrdiff_t>(results_.size());
    if (finished == all) return absl::OkStatus();
    const std::string kept =
        finished == 0 ? "" : "what finished: " + ComparisonDirectory();
    if (Interrupted()) {
      return Annotate(
          absl::CancelledError(fmt::format(
              "the sweep was stopped: {} of {} runs finished", finished, all)),
          ErrorKind::kFailed, kept);
    }
    const auto first = std::ranges::find_if(
        results_, [](const Result& result) { return !result.run; });
    return Annotate(
        absl::AbortedError(fmt::format(
            "{} of {} runs failed, the first: {}: {}", all - finished, all,
            points_[static_cast<size_t>(first - results_.begin())].name,
            first->error)),
        ErrorKind::kFailed, kept);
  }

  const SweepOptions& options_;
  const Output& output_;
  const std::vector<SweepPoint> points_;
  std::vector<Result> results_;  // of each point
  Comparison comparison_;        // of those that finished
};

}  // namespace

absl::Status RunSweep(const SweepOptions& options, const Output& output) {
  return Sweep(options, output).Run();
}

}  // namespace edgetune
