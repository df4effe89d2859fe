#include "tools/simulation/simulated_run.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "models/io/adapter/adapter_file.h"
#include "protos/full_training.h"
#include "simulations/report/page/html.h"
#include "simulations/report/report.h"
#include "simulations/runner/simulation.h"
#include "tools/child_process.h"
#include "tools/federation/run_report.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/trained_files.h"
#include "tools/progress.h"
#include "tools/simulation/run_directory.h"

namespace edgetune {
namespace {

constexpr char kToken[] = "edgetune simulate";

// What is shown while it runs.
class SimulationView {
 public:
  SimulationView(const Output& output, std::string title)
      : block_(output), title_(std::move(title)) {}

  void Show(const FleetProgress& at) {
    const absl::Time now = absl::Now();
    if (at.selected == 0 || now - shown_at_ < absl::Milliseconds(100)) return;
    shown_at_ = now;
    const double share = Share(at);
    const double elapsed = absl::ToDoubleSeconds(now - start_);
    const std::string line = fmt::format(
        "{}round {} of {}{}: {} of {} answered, {}{:.3g} trainings/s, {} of "
        "virtual time{}",
        title_, std::min(at.round + 1, at.rounds), at.rounds,
        at.attempt > 0 ? fmt::format(" (attempt {})", at.attempt + 1) : "",
        at.answered, at.selected,
        at.perplexity > 0
            ? fmt::format("perplexity {}, ", PerplexityText(at.perplexity))
        : at.accuracy.has_value()
            ? fmt::format("accuracy {:.2f} %, ", 100 * *at.accuracy)
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
  const std::string title_;
  const absl::Time start_ = absl::Now();
  absl::Time shown_at_ = absl::InfinitePast();
};

// What is shown while baselines and the like are measured.
class MeasuringView {
 public:
  MeasuringView(const Output& output, std::string title)
      : output_(output), title_(std::move(title)) {}

  void Show(const MeasuringProgress& at) {
    if (at.total == 0) return;
    if (at.what != what_) {
      what_ = at.what;
      progress_.emplace(output_, title_ + what_ + ", passes over examples",
                        static_cast<uint64_t>(at.total),
                        Progress::Unit::kCount);
    }
    progress_->Update(static_cast<uint64_t>(at.done));
  }

 private:
  const Output& output_;
  const std::string title_;
  std::string what_;
  std::optional<Progress> progress_;
};

class Runner {
 public:
  Runner(const PreparedRun& run, const SimulatedRunOptions& options,
         const Output& output)
      : run_(run),
        options_(options),
        output_(output),
        measuring_view_(
            std::make_unique<MeasuringView>(output, options.title)) {}

  absl::Status Begin() {
    EDGETUNE_ASSIGN_OR_RETURN(RunFacts facts, RunFactsOf(run_));
    if (options_.baselines) {
      facts["--baseline-clients"] = std::to_string(options_.baseline_clients);
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        directory_, RunDirectory::Open({.path = options_.directory,
                                        .resume = options_.resume,
                                        .most_bytes = options_.resume_space},
                                       facts));
    if (directory_->finished()) return absl::OkStatus();
    std::string title = options_.title;
    if (directory_->resumed()) title += ResumedText();
    view_ = std::make_unique<SimulationView>(output_, title);
    const absl::Status made = MakeSimulation();
    if (!made.ok()) directory_->Drop();
    return made;
  }

  absl::StatusOr<SimulatedRun> Run() {
    if (directory_->finished()) return ReadFinished();
    const absl::Time start = absl::Now();
    const auto status = simulation_->Run(
        options_.stop != nullptr ? *options_.stop : InterruptFlag());
    const absl::Time end = measuring_since_.value_or(absl::Now());
    view_.reset();
    measuring_view_.reset();
    if (!status.ok()) {
      // Hands what is in the log to the system.
      simulation_.reset();
      return Annotate(
          status.status(), ErrorKind::kFailed,
          fmt::format("go on with it: --resume; what was done until then: "
                      "edgetune report {}",
                      options_.directory));
    }
    SimulatedRun done;
    done.directory = options_.directory;
    done.trained = options_.directory +
                   (TrainsAll(run_.built.plan) ? "/model" : "/adapter");
    done.seconds = absl::ToDoubleSeconds(end - start);
    done.measured = simulation_->measured();
    done.trainings = simulation_->progress().trainings;
    EDGETUNE_RETURN_IF_ERROR(WriteAdapter(*status, done.trained));
    EDGETUNE_ASSIGN_OR_RETURN(done.summary,
                              SummariseDirectory(options_.directory));
    EDGETUNE_RETURN_IF_ERROR(WriteReport(done.summary, directory_->report()));
    EDGETUNE_RETURN_IF_ERROR(directory_->Finish());
    done.outcome = OutcomeOf(*status);
    if (done.outcome.ok()) done.outcome = MeasuredOutcome();
    return done;
  }

 private:
  absl::Status MakeSimulation() {
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
    options.other_engine = options_.engine;
    options.workers = options_.workers;
    options.memory = options_.memory;
    options.spill_directory = options_.directory;
    options.log_path = directory_->log();
    options.repeats = directory_->resumed();
    options.journal = directory_->journal();
    options.settings = options_.settings;
    if (!run_.run.simulation.teacher.empty()) {
      EDGETUNE_ASSIGN_OR_RETURN(options.teacher,
                                ResolveModel(run_.run.simulation.teacher));
    }
    options.on_teacher = [this](int64_t done, int64_t of) {
      if (!teacher_progress_) {
        teacher_progress_.emplace(output_, options_.title + "ask the teacher",
                                  static_cast<uint64_t>(of),
                                  Progress::Unit::kCount);
      }
      teacher_progress_->Update(static_cast<uint64_t>(done));
      if (done == of) teacher_progress_.reset();
    };
    options.on_progress = [this](const FleetProgress& at) { view_->Show(at); };
    options.baselines = options_.baselines;
    options.baseline_clients = options_.baseline_clients;
    options.on_measuring = [this](const MeasuringProgress& at) {
      if (!measuring_since_.has_value()) measuring_since_ = absl::Now();
      view_.reset();
      measuring_view_->Show(at);
    };
    EDGETUNE_ASSIGN_OR_RETURN(simulation_,
                              Simulation::Make(std::move(options)));
    output_.Note(fmt::format(
        "{}{} clients hold {} examples ({}), {} of them in a round, {} rounds",
        options_.title, simulation_->data().partition().size(),
        simulation_->data().report().examples, run_.run.simulation.partition,
        run_.built.plan.rounds().cohort(), run_.built.plan.rounds().count()));
    if (const auto& memory = simulation_->memory()) {
      output_.Note(fmt::format(
          "{}at most {} in memory: {} for all but updates, of these up to {} "
          "at once; others wait in files",
          options_.title, FormatBytes(options_.memory),
          FormatBytes(memory->fixed), FormatBytes(memory->all_blobs)));
    }
    if (directory_->resumed()) {
      output_.Note(fmt::format("{}{} finished steps are kept ({})",
                               ResumedText(), directory_->journal()->steps(),
                               FormatBytes(directory_->journal()->bytes())));
    }
    if (simulation_->adversaries() > 0) {
      output_.Note(fmt::format("{}{} of the clients are adversaries ({})",
                               options_.title, simulation_->adversaries(),
                               run_.run.simulation.adversary));
    }
    return absl::OkStatus();
  }

  absl::Status MeasuredOutcome() const {
    const absl::Status& status = simulation_->measured().status;
    if (status.ok()) return status;
    return Annotate(
        Prefix(status, fmt::format("the run is done and in {}, but what was to "
                                   "be measured after it is not complete",
                                   options_.directory)),
        ErrorKind::kFailed);
  }

  absl::Status WriteAdapter(const v1::RunStatus& status,
                            const std::string& directory) const {
    Adapter adapter = run_.built.initial;
    EDGETUNE_ASSIGN_OR_RETURN(adapter.values, simulation_->ReadAdapter());
    const v1::TaskPlan& plan = run_.built.plan;
    const Provenance provenance = {
        {"made_by", "edgetune simulate " EDGETUNE_VERSION},
        {"run", plan.name()},
        {"rounds", std::to_string(status.rounds_done())},
        {"base_sha256", BaseSha256(plan.model())}};
    return WriteTrained(directory, adapter, *run_.model, plan.model().name(),
                        provenance);
  }

  std::string ResumedText() const {
    const int64_t rounds = run_.built.plan.rounds().count();
    return fmt::format("resumed at round {}: ",
                       std::min(directory_->rounds() + 1, rounds));
  }

  absl::StatusOr<SimulatedRun> ReadFinished() const {
    output_.Note(fmt::format("{}{} was finished before", options_.title,
                             options_.directory));
    SimulatedRun done;
    done.directory = options_.directory;
    EDGETUNE_ASSIGN_OR_RETURN(done.summary,
                              SummariseDirectory(options_.directory));
    done.trainings = done.summary.funnel.reported;
    if (done.summary.state != "finished") {
      done.outcome =
          Annotate(absl::AbortedError(options_.directory + ": the run " +
                                      done.summary.state.value_or("failed")),
                   ErrorKind::kFailed);
    }
    return done;
  }

  const PreparedRun& run_;
  const SimulatedRunOptions& options_;
  const Output& output_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<SimulationView> view_;
  std::unique_ptr<MeasuringView> measuring_view_;
  std::optional<Progress> teacher_progress_;
  std::optional<absl::Time> measuring_since_;
  std::unique_ptr<Simulation> simulation_;
};

}  // namespace

// A device's engine gives large buffers back at once. Here they are made and
// freed for each session, and faulting their pages in anew took half the time.
void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

absl::StatusOr<PreparedRun> PrepareRank(const std::string& run_file,
                                        const std::vector<std::string>& sets) {
  return PrepareRun(run_file, sets, kToken, SimulationStart());
}

absl::StatusOr<PreparedRun> PrepareSimulation(
    const std::string& run_file, const std::vector<std::string>& sets) {
  EDGETUNE_ASSIGN_OR_RETURN(PreparedRun run, PrepareRank(run_file, sets));
  EDGETUNE_RETURN_IF_ERROR(Simulation::Check(run.run));
  return run;
}

absl::StatusOr<SimulatedRun> RunSimulation(const PreparedRun& run,
                                           const SimulatedRunOptions& options,
                                           const Output& output) {
  KeepFreedMemory();
  Runner runner(run, options, output);
  EDGETUNE_RETURN_IF_ERROR(runner.Begin());
  return runner.Run();
}

}  // namespace edgetune
