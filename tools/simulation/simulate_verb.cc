#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "absl/time/clock.h"
#include "base/atomic_directory.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/adapter/adapter_file.h"
#include "simulations/report/page/html.h"
#include "simulations/report/report.h"
#include "simulations/report/summary_json.h"
#include "simulations/runner/simulation.h"
#include "tools/child_process.h"
#include "tools/federation/plan_builder.h"
#include "tools/federation/run_report.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/progress.h"
#include "tools/simulation/measured_text.h"
#include "tools/simulation/summary_text.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  std::string run_file, data, out, log = "error";
  std::vector<std::string> sets;
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

// Two simulations of one run file have one id: nothing of them is drawn anew.
constexpr char kToken[] = "edgetune simulate";

// What is shown while it runs.
class SimulationView {
 public:
  explicit SimulationView(const Output& output) : block_(output) {}

  void Show(const FleetProgress& at) {
    const absl::Time now = absl::Now();
    if (at.selected == 0 || now - shown_at_ < absl::Milliseconds(100)) return;
    shown_at_ = now;
    const double share = Share(at);
    const double elapsed = absl::ToDoubleSeconds(now - start_);
    const std::string line = fmt::format(
        "round {} of {}{}: {} of {} answered, {}{:.1f} trainings/s, {} of "
        "virtual time{}",
        std::min(at.round + 1, at.rounds), at.rounds,
        at.attempt > 0 ? fmt::format(" (attempt {})", at.attempt + 1) : "",
        at.answered, at.selected,
        at.perplexity > 0
            ? fmt::format("perplexity {}, ", PerplexityText(at.perplexity))
            : "",
        static_cast<double>(at.trainings) / std::max(elapsed, 1e-3),
        FormatSeconds(absl::ToDoubleSeconds(at.virtual_time)),
        TimeLeft(share, elapsed));
    block_.Show(
        {fmt::format("{} {:3.0f} %", Bar(share, 30), 100 * share), line}, line);
  }

 private:
  static double Share(const FleetProgress& at) {
    const double part = at.selected == 0 ? 0
                                         : static_cast<double>(at.answered) /
                                               static_cast<double>(at.selected);
    return std::min(1.0, (at.round + part) / (at.rounds + 1.0));
  }
  static std::string TimeLeft(double share, double elapsed) {
    const double left = SecondsLeft(share, elapsed);
    return left < 0 ? "" : fmt::format(", {} left", FormatSeconds(left));
  }

  LiveBlock block_;
  const absl::Time start_ = absl::Now();
  absl::Time shown_at_ = absl::InfinitePast();
};

// What is shown while baselines and the like are measured.
class MeasuringView {
 public:
  explicit MeasuringView(const Output& output) : output_(output) {}

  void Show(const MeasuringProgress& at) {
    if (at.total == 0) return;
    if (at.what != what_) {
      what_ = at.what;
      progress_.emplace(output_, what_ + ", passes over examples",
                        static_cast<uint64_t>(at.total),
                        Progress::Unit::kCount);
    }
    progress_->Update(static_cast<uint64_t>(at.done));
  }

 private:
  const Output& output_;
  std::string what_;
  std::optional<Progress> progress_;
};

// A device's engine gives large buffers back at once. Here they are made and
// freed for each session, and faulting their pages in anew took half the time.
void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

class Simulate {
 public:
  Simulate(Options options, const Output& output)
      : options_(std::move(options)), output_(output) {}

  absl::Status Run() {
    CatchInterrupts();
    KeepFreedMemory();
    EDGETUNE_RETURN_IF_ERROR(UseLogLevel(options_.log));
    EDGETUNE_ASSIGN_OR_RETURN(
        run_, PrepareRun(options_.run_file, SetsOf(options_), kToken,
                         SimulationStart()));
    EDGETUNE_RETURN_IF_ERROR(ChooseDirectory());
    EDGETUNE_RETURN_IF_ERROR(Prepare());
    const absl::Time start = absl::Now();
    EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status,
                              simulation_->Run(InterruptFlag()));
    seconds_ =
        absl::ToDoubleSeconds(measuring_since_.value_or(absl::Now()) - start);
    view_.reset();
    measuring_view_.reset();
    EDGETUNE_RETURN_IF_ERROR(OutcomeOf(status));
    return Write();
  }

 private:
  absl::Status ChooseDirectory() {
    directory_ =
        options_.out.empty()
            ? fmt::format("{}/simulations/{}-{}", DataDirectory(),
                          run_.built.plan.name(),
                          absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(),
                                           absl::LocalTimeZone()))
            : options_.out;
    EDGETUNE_RETURN_IF_ERROR(CheckNew(directory_));
    return MakeDirectories(directory_);
  }

  absl::Status Prepare() {
    view_ = std::make_unique<SimulationView>(output_);
    measuring_view_ = std::make_unique<MeasuringView>(output_);
    Simulation::Options options;
    options.run = run_.run;
    options.plan = run_.built.plan;
    options.plan_payload = run_.built.payload;
    options.run_id = run_.built.run_id;
    options.initial_blob = run_.built.initial_blob;
    options.model = run_.model;
    EDGETUNE_ASSIGN_OR_RETURN(const auto files, BaseFilesOf(run_.model_path));
    for (const BaseFile& file : files) {
      options.model_files.push_back(file.path);
    }
    options.engine = [](std::string_view name) { return LoadEngine(name); };
    options.workers = options_.workers > 0
                          ? static_cast<size_t>(options_.workers)
                          : std::max(1u, std::thread::hardware_concurrency());
    options.log_path = directory_ + "/events.jsonl";
    options.on_progress = [this](const FleetProgress& at) { view_->Show(at); };
    options.baselines = options_.baselines;
    options.baseline_clients = static_cast<size_t>(options_.baseline_clients);
    options.on_measuring = [this](const MeasuringProgress& at) {
      if (!measuring_since_.has_value()) measuring_since_ = absl::Now();
      view_.reset();
      measuring_view_->Show(at);
    };
    EDGETUNE_ASSIGN_OR_RETURN(simulation_,
                              Simulation::Make(std::move(options)));
    output_.Note(fmt::format(
        "{} clients hold {} examples ({}), {} of them in a round, {} rounds",
        simulation_->data().partition().size(),
        simulation_->data().report().examples, run_.run.simulation.partition,
        run_.built.plan.rounds().cohort(), run_.built.plan.rounds().count()));
    if (simulation_->adversaries() > 0) {
      output_.Note(fmt::format("{} of the clients are adversaries ({})",
                               simulation_->adversaries(),
                               run_.run.simulation.adversary));
    }
    return absl::OkStatus();
  }

  absl::Status Write() {
    Adapter adapter = run_.built.initial;
    EDGETUNE_ASSIGN_OR_RETURN(adapter.values, simulation_->ReadAdapter());
    const v1::TaskPlan& plan = run_.built.plan;
    const Provenance provenance = {
        {"made_by", "edgetune simulate " EDGETUNE_VERSION},
        {"run", plan.name()},
        {"rounds", std::to_string(plan.rounds().count())},
        {"base_sha256", BaseSha256(plan.model())}};
    const std::string adapter_directory = directory_ + "/adapter";
    EDGETUNE_RETURN_IF_ERROR(WritePeftAdapter(adapter_directory, adapter,
                                              plan.model().name(), provenance));
    EDGETUNE_ASSIGN_OR_RETURN(const RunSummary summary,
                              SummariseDirectory(directory_));
    EDGETUNE_RETURN_IF_ERROR(WriteReport(summary, directory_ + "/report"));
    const Simulation::Measured& measured = simulation_->measured();
    if (!measured.status.ok()) {
      return Annotate(Prefix(measured.status,
                             fmt::format("the run is done and in {}, but what "
                                         "was to be measured after it is not "
                                         "complete",
                                         directory_)),
                      ErrorKind::kFailed);
    }
    const int64_t trainings = simulation_->progress().trainings;
    nlohmann::json data = {
        {"directory", directory_},          {"adapter", adapter_directory},
        {"report", directory_ + "/report"}, {"seconds", seconds_},
        {"trainings", trainings},           {"run", SummaryJson(summary)}};
    AddMeasured(measured, data);
    return output_.Finish(
        data, SummaryText(summary) + MeasuredText(measured) +
                  fmt::format(
                      "\nsimulated in {}, {:.1f} trainings a second\n"
                      "adapter {}\nreport  {}/report/index.html\n",
                      FormatSeconds(seconds_),
                      static_cast<double>(trainings) / std::max(seconds_, 1e-3),
                      adapter_directory, directory_));
  }

  const Options options_;
  const Output& output_;
  PreparedRun run_;
  std::string directory_;
  std::unique_ptr<SimulationView> view_;
  std::unique_ptr<MeasuringView> measuring_view_;
  std::optional<absl::Time> measuring_since_;
  std::unique_ptr<Simulation> simulation_;
  double seconds_ = 0;  // of the federated run
};

}  // namespace

void AddSimulateVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(
      app, invocation, "simulate",
      "Run a run file on a simulated fleet: the real coordinator and clients "
      "in virtual time, on this machine",
      [options, &output] { return Simulate(*options, output).Run(); });
  verb->add_option("run_file", options->run_file,
                   "Run file (TOML); without it the defaults");
  verb->add_option("--data", options->data,
                   "Examples of the whole fleet; simulation.data");
  verb->add_option("--clients", options->clients, "simulation.clients")
      ->check(CLI::PositiveNumber);
  verb->add_option("--out", options->out,
                   "New directory for log, report and adapter");
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_option("--workers", options->workers,
                   "Devices that compute at once; 0: one a core")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--baselines", options->baselines,
                 "Then train each client alone, and all examples in one place, "
                 "and compare");
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
