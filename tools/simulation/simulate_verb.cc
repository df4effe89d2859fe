#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "simulations/report/summary_json.h"
#include "tools/child_process.h"
#include "tools/model/model_path.h"
#include "tools/simulation/measured_text.h"
#include "tools/simulation/simulated_run.h"
#include "tools/simulation/summary_text.h"
#include "tools/simulation/sweep_runs.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  std::string run_file, data, out, log = "error";
  std::vector<std::string> sets, sweeps;
  int64_t clients = 0, workers = 0;
  bool baselines = false;
  int64_t baseline_clients = 0;  // 0: all
};

// Flags of the verb's own are keys of the run file.
std::vector<std::string> SetsOf(const Options& options) {
  std::vector<std::string> sets = options.sets;
  if (!options.data.empty()) sets.push_back("simulation.data=" + options.data);
  if (options.clients > 0) {
    sets.push_back(fmt::format("simulation.clients={}", options.clients));
  }
  return sets;
}

absl::Status UseLogLevel(const std::string& name) {
  LogLevel level;
  if (!ParseLogLevel(name, &level)) {
    return Annotate(
        absl::InvalidArgumentError("--log " + name + " is no log level"),
        ErrorKind::kUsage, "one of debug, info, warning, error, off");
  }
  SetLogLevel(level);
  return absl::OkStatus();
}

std::string DirectoryOf(const Options& options, std::string_view name) {
  if (!options.out.empty()) return options.out;
  return fmt::format(
      "{}/simulations/{}-{}", DataDirectory(), name,
      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()));
}

size_t WorkersOf(const Options& options) {
  return options.workers > 0
             ? static_cast<size_t>(options.workers)
             : std::max(1u, std::thread::hardware_concurrency());
}

absl::Status Tell(const SimulatedRun& run, const Output& output) {
  const std::string& adapter = run.trained;
  const std::string report = run.directory + "/report";
  nlohmann::json data = {
      {"directory", run.directory}, {"adapter", adapter},
      {"report", report},           {"seconds", run.seconds},
      {"trainings", run.trainings}, {"run", SummaryJson(run.summary)}};
  AddMeasured(run.measured, data);
  return output.Finish(
      data, SummaryText(run.summary) + MeasuredText(run.measured) +
                fmt::format("\nsimulated in {}, {:.3g} trainings a second\n"
                            "adapter {}\nreport  {}/index.html\n",
                            FormatSeconds(run.seconds),
                            static_cast<double>(run.trainings) /
                                std::max(run.seconds, 1e-3),
                            adapter, report));
}

absl::Status SimulateOne(const Options& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const PreparedRun prepared,
      PrepareSimulation(options.run_file, SetsOf(options)));
  SimulatedRunOptions how;
  how.directory = DirectoryOf(options, prepared.built.plan.name());
  how.workers = WorkersOf(options);
  how.baselines = options.baselines;
  how.baseline_clients = static_cast<size_t>(options.baseline_clients);
  EDGETUNE_ASSIGN_OR_RETURN(const SimulatedRun run,
                            RunSimulation(prepared, how, output));
  if (run.outcome.ok()) return Tell(run, output);
  output.Note("what happened: " + run.directory + "/report/index.html");
  return run.outcome;
}

absl::Status SimulateSweep(const Options& options, const Output& output) {
  SweepOptions sweep;
  EDGETUNE_ASSIGN_OR_RETURN(sweep.keys, ParseSweeps(options.sweeps));
  sweep.run_file = options.run_file;
  sweep.sets = SetsOf(options);
  sweep.directory = DirectoryOf(options, "sweep");
  sweep.workers = WorkersOf(options);
  return RunSweep(sweep, output);
}

absl::Status Simulate(const Options& options, const Output& output) {
  CatchInterrupts();
  EDGETUNE_RETURN_IF_ERROR(UseLogLevel(options.log));
  return options.sweeps.empty() ? SimulateOne(options, output)
                                : SimulateSweep(options, output);
}

}  // namespace

void AddSimulateVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(
      app, invocation, "simulate",
      "Run a run file on a simulated fleet: the real coordinator and clients "
      "in virtual time, on this machine",
      [options, &output] { return Simulate(*options, output); });
  verb->add_option("run_file", options->run_file,
                   "Run file (TOML); without it the defaults");
  verb->add_option("--data", options->data,
                   "Examples of the whole fleet; simulation.data");
  verb->add_option("--clients", options->clients, "simulation.clients")
      ->check(CLI::PositiveNumber);
  verb->add_option("--out", options->out,
                   "New directory for log, report and adapter");
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_option("--sweep", options->sweeps,
                   "One run for each value of a key, train.lr=1e-4,1e-3; of "
                   "several keys for each combination; at most 1000 runs");
  verb->add_option("--workers", options->workers,
                   "Devices that compute at once; 0: one a core")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--baselines", options->baselines,
                 "Then train each client alone, and all examples in one place, "
                 "and compare")
      ->excludes("--sweep");
  verb->add_option("--baseline-clients", options->baseline_clients,
                   "So many clients, drawn by the seed, for the comparison; 0: "
                   "all")
      ->check(CLI::NonNegativeNumber)
      ->needs("--baselines");
  verb->add_option("--log", options->log,
                   "What coordinator and clients say on stderr: debug, info, "
                   "warning, error, off");
}

}  // namespace edgetune
