#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/time/clock.h"
#include "base/log.h"
#include "base/process_memory.h"
#include "base/status.h"
#include "base/units.h"
#include "simulations/mpi/post_loader.h"
#include "simulations/report/summary_json.h"
#include "tools/child_process.h"
#include "tools/model/model_path.h"
#include "tools/simulation/measured_text.h"
#include "tools/simulation/ranked_run.h"
#include "tools/simulation/simulated_run.h"
#include "tools/simulation/summary_text.h"
#include "tools/simulation/sweep_runs.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct SimulateOptions {
  std::string run_file, data, out, log = "error";
  std::vector<std::string> sets, sweeps;
  int64_t clients = 0, workers = 0;
  bool baselines = false;
  int64_t baseline_clients = 0;  // 0: all
  bool resume = false;
  std::string resume_space = "20GB";
  std::string memory = "0B";
};

// Flags of the verb's own are keys of the run file.
std::vector<std::string> SetsOf(const SimulateOptions& options) {
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

std::string DirectoryOf(const SimulateOptions& options, std::string_view name) {
  if (!options.out.empty()) return options.out;
  return fmt::format(
      "{}/simulations/{}-{}", DataDirectory(), name,
      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()));
}

size_t WorkersOf(const SimulateOptions& options) {
  return options.workers > 0
             ? static_cast<size_t>(options.workers)
             : std::max(1u, std::thread::hardware_concurrency());
}

std::string SpeedText(const SimulatedRun& run) {
  if (run.seconds == 0) return "\n";
  return fmt::format(
      "\nsimulated in {}, {:.3g} trainings a second, at most {} in memory\n",
      FormatSeconds(run.seconds),
      static_cast<double>(run.trainings) / std::max(run.seconds, 1e-3),
      FormatBytes(PeakResidentBytes()));
}

absl::StatusOr<uint64_t> BytesOf(const std::string& flag,
                                 const std::string& text) {
  if (const auto bytes = ParseBytes(text)) return *bytes;
  return Annotate(
      absl::InvalidArgumentError(fmt::format("{} {} is no size", flag, text)),
      ErrorKind::kUsage, "such as 8GB or 512MiB");
}

absl::Status Tell(const SimulatedRun& run, const Output& output) {
  const std::string& adapter = run.trained;
  const std::string report = run.directory + "/report";
  nlohmann::json data = {{"directory", run.directory},
                         {"adapter", adapter},
                         {"report", report},
                         {"seconds", run.seconds},
                         {"trainings", run.trainings},
                         {"peak_memory", PeakResidentBytes()},
                         {"run", SummaryJson(run.summary)}};
  AddMeasured(run.measured, data);
  return output.Finish(
      data,
      SummaryText(run.summary) + MeasuredText(run.measured) + SpeedText(run) +
          fmt::format("adapter {}\nreport  {}/index.html\n", adapter, report));
}

// `how`: with workers and what else is not of the command line.
absl::Status SimulateOne(const SimulateOptions& options,
                         const PreparedRun& prepared, SimulatedRunOptions how,
                         const Output& output) {
  how.directory = DirectoryOf(options, prepared.built.plan.name());
  how.resume = options.resume;
  EDGETUNE_ASSIGN_OR_RETURN(how.resume_space,
                            BytesOf("--resume-space", options.resume_space));
  EDGETUNE_ASSIGN_OR_RETURN(how.memory, BytesOf("--memory", options.memory));
  how.baselines = options.baselines;
  how.baseline_clients = static_cast<size_t>(options.baseline_clients);
  EDGETUNE_ASSIGN_OR_RETURN(const SimulatedRun run,
                            RunSimulation(prepared, how, output));
  if (run.outcome.ok()) return Tell(run, output);
  output.Note("what happened: " + run.directory + "/report/index.html");
  return run.outcome;
}

absl::Status SimulateSweep(const SimulateOptions& options,
                           const Output& output) {
  SweepOptions sweep;
  EDGETUNE_ASSIGN_OR_RETURN(sweep.keys, ParseSweeps(options.sweeps));
  sweep.run_file = options.run_file;
  sweep.sets = SetsOf(options);
  sweep.directory = DirectoryOf(options, "sweep");
  sweep.resume = options.resume;
  EDGETUNE_ASSIGN_OR_RETURN(sweep.resume_space,
                            BytesOf("--resume-space", options.resume_space));
  EDGETUNE_ASSIGN_OR_RETURN(sweep.memory, BytesOf("--memory", options.memory));
  sweep.workers = WorkersOf(options);
  return RunSweep(sweep, output);
}

// One of several processes.
absl::Status SimulateRanked(const SimulateOptions& options,
                            const Output& output) {
  RankedRunOptions ranked;
  ranked.prepare = [&](int rank) -> absl::StatusOr<PreparedRun> {
    if (!options.sweeps.empty()) {
      return Annotate(absl::InvalidArgumentError(
                          "--sweep runs in one process, not under mpirun"),
                      ErrorKind::kUsage,
                      "start one simulation a point, or leave mpirun out");
    }
    const auto sets = SetsOf(options);
    return rank == 0 ? PrepareSimulation(options.run_file, sets)
                     : PrepareRank(options.run_file, sets);
  };
  ranked.workers = static_cast<size_t>(options.workers);
  ranked.run = [&](const PreparedRun& prepared, SimulatedRunOptions how) {
    return SimulateOne(options, prepared, std::move(how), output);
  };
  return RunRanked(ranked, output);
}

absl::Status Simulate(const SimulateOptions& options, const Output& output) {
  CatchInterrupts();
  EDGETUNE_RETURN_IF_ERROR(UseLogLevel(options.log));
  if (StartedByMpi()) return SimulateRanked(options, output);
  if (!options.sweeps.empty()) return SimulateSweep(options, output);
  EDGETUNE_ASSIGN_OR_RETURN(
      const PreparedRun prepared,
      PrepareSimulation(options.run_file, SetsOf(options)));
  SimulatedRunOptions how;
  how.workers = WorkersOf(options);
  return SimulateOne(options, prepared, std::move(how), output);
}

}  // namespace

void AddSimulateVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<SimulateOptions>();
  CLI::App* verb = AddVerb(
      app, invocation, "simulate",
      "Run a run file on a simulated fleet: the real coordinator and clients "
      "in virtual time, on this machine or with mpirun on several",
      [options, &output] { return Simulate(*options, output); });
  verb->add_option("run_file", options->run_file,
                   "Run file (TOML); without it the defaults");
  verb->add_option("--data", options->data,
                   "Examples of the whole fleet; simulation.data");
  verb->add_option("--clients", options->clients, "simulation.clients")
      ->check(CLI::PositiveNumber);
  verb->add_option("--out", options->out,
                   "New directory for log, report and adapter");
  verb->add_flag("--resume", options->resume,
                 "Go on with what a simulation that was stopped or killed left "
                 "in --out; begin it where there is nothing")
      ->needs("--out");
  verb->add_option("--resume-space", options->resume_space,
                   "What --resume may take on the disk until the run is "
                   "finished; beyond it, devices compute again");
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_option("--sweep", options->sweeps,
                   "One run for each value of a key, train.lr=1e-4,1e-3; of "
                   "several keys for each combination; at most 1000 runs");
  verb->add_option(
          "--workers", options->workers,
          "Devices that compute at once; under mpirun, in each process; "
          "0: one a core")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--memory", options->memory,
                   "Most that this process may have in memory, such as 8GB; "
                   "updates beyond it wait in files in --out");
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
