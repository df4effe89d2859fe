#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/time/clock.h"
#include "aggregation/combine_rule.h"
#include "aggregation/plan_strategy.h"
#include "aggregation/server_optimizer.h"
#include "aggregation/update_fold.h"
#include "base/control_variates.h"
#include "base/status.h"
#include "base/units.h"
#include "client/checkpoint_file.h"
#include "client/own_teacher.h"
#include "client/train_plan.h"
#include "models/io/adapter/core_adapter.h"
#include "privacy/crypto/hash.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "simulations/fleet/recorded_trainer.h"
#include "simulations/fleet/step_journal.h"
#include "tools/child_process.h"
#include "tools/federation/plan_builder.h"
#include "tools/local/fitted_training.h"
#include "tools/local/profile_report.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"
#include "tools/model/trained_files.h"
#include "tools/progress.h"
#include "tools/verbs.h"
#include "training/checkpoint.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

std::string When(size_t version) {
  return version == 0 ? "of the base model"
                      : fmt::format("after round {}", version);
}

constexpr uint64_t kMostJournal = uint64_t{20} << 30;

struct TrainOptions {
  std::string run_file, data, heldout, teacher, out, memory_budget, checkpoint;
  std::vector<std::string> sets;
  int64_t threads = 0;
  bool profile = false;
};

// One machine as a cohort of one: the same plan, segments, seeds, mean and
// server step as a run with a single client (decisions 12).
class LocalRun {
 public:
  LocalRun(const TrainOptions& options, const Output& output, PreparedRun run)
      : options_(options), output_(output), run_(std::move(run)) {}

  absl::Status Execute() {
    EDGETUNE_RETURN_IF_ERROR(Open());
    const uint32_t rounds = plan().rounds().count();
    for (uint32_t round = 0; round < rounds; ++round) {
      EDGETUNE_RETURN_IF_ERROR(Evaluate(round));
      EDGETUNE_RETURN_IF_ERROR(Train(round));
    }
    EDGETUNE_RETURN_IF_ERROR(Evaluate(rounds));
    return Write();
  }

 private:
  const v1::TaskPlan& plan() const { return run_.built.plan; }
  const LocalData& data() const { return fitted_.data; }
  uint64_t Steps() const {  // of a round
    return StepsOf(plan().train(), static_cast<uint64_t>(data().train->size()));
  }
  uint64_t TotalSteps() const { return plan().rounds().count() * Steps(); }
  absl::Status Interrupted() const {
    return InterruptedError(store_ ? "the same command goes on from " +
                                         options_.checkpoint
                                   : "nothing was written");
  }

  absl::Status Open() {
    // Found out before, not after, hours of work.
    EDGETUNE_RETURN_IF_ERROR(CheckNew(options_.out));
    adapter_ = run_.built.initial;
    files_.train = options_.data;
    files_.heldout = options_.heldout;
    const v1::RoundsSpec& rounds = plan().rounds();
    EDGETUNE_ASSIGN_OR_RETURN(const ServerOptimizerOptions step,
                              ServerOptimizerOptionsOf(rounds));
    EDGETUNE_ASSIGN_OR_RETURN(
        optimizer_, MakeServerOptimizer(step, adapter_.values.size(), ""));
    EDGETUNE_ASSIGN_OR_RETURN(fitted_,
                              FitTraining(run_, files_, options_.threads));
    CatchInterrupts();
    EDGETUNE_RETURN_IF_ERROR(AskOwnTeacher());
    EDGETUNE_ASSIGN_OR_RETURN(
        trainer_, MakeFittedTrainer(run_, fitted_, options_.threads));
    EDGETUNE_RETURN_IF_ERROR(OpenCheckpoint());
    if (const uint64_t budget = plan().train().memory_budget(); budget != 0) {
      output_.Note(fmt::format("memory: {} of the budget of {}",
                               MemoryPlanText(fitted_.memory),
                               FormatBytes(budget)));
    }
    progress_ = std::make_unique<Progress>(output_, "train", TotalSteps(),
                                           Progress::Unit::kCount);
    output_.Note(fmt::format(
        "{} examples of the schema {} ({} held out), {}, {} rounds of {} "
        "steps{}",
        data().train->size(), data().report.schema,
        data().heldout ? data().heldout->size() : 0, trainer_->precision(),
        rounds.count(), Steps(), RemarksOf(data().report)));
    start_ = absl::Now();
    return absl::OkStatus();
  }

  // Rounds and evaluations that are done are in a journal beside the segment
  // under way; all of it is found by what decides it, so that it goes on to the
  // same bits or not at all.
  absl::Status OpenCheckpoint() {
    const std::string& path = options_.checkpoint;
    if (path.empty()) return absl::OkStatus();
    EDGETUNE_RETURN_IF_ERROR(
        CheckOwnFile(path, kCheckpointMagic, "--checkpoint"));
    EDGETUNE_RETURN_IF_ERROR(
        CheckOwnFile(JournalPath(), kStepJournalMagic, "--checkpoint"));
    EDGETUNE_ASSIGN_OR_RETURN(journal_,
                              StepJournal::Open(JournalPath(), kMostJournal));
    const MemoryChoice& choice = fitted_.memory.choice;
    const std::string task = fmt::format(
        "train, {} threads {} {}", options_.threads,
        static_cast<int>(choice.weights), choice.recompute ? "again" : "kept");
    store_.emplace(path, "train", task, absl::Minutes(1));
    if (journal_->steps() > 0) {
      output_.Note(fmt::format("{} finished steps are kept in {}",
                               journal_->steps(), JournalPath()));
    }
    trainer_ = MakeRecordedTrainer(std::move(trainer_), task, journal_.get());
    return absl::OkStatus();
  }
  std::string JournalPath() const { return options_.checkpoint + ".rounds"; }

  absl::Status AskOwnTeacher() {
    if (!AsksTeachers(plan())) {
      if (options_.teacher.empty()) return absl::OkStatus();
      return UsageError("--teacher, but the run asks no teachers",
                        "set train.teacher_alpha above 0");
    }
    if (options_.teacher.empty()) {
      output_.Note("no --teacher: learning from labels alone");
      return absl::OkStatus();
    }
    EDGETUNE_ASSIGN_OR_RETURN(const std::string path,
                              ResolveModel(options_.teacher));
    Progress progress(output_, "ask the teacher",
                      static_cast<uint64_t>(PositionsOf(*data().train)),
                      Progress::Unit::kCount);
    auto targets =
        AskTeacher({.plan = plan(),
                    .student = *run_.model,
                    .engine = *fitted_.engine,
                    .threads = options_.threads,
                    .teacher = path,
                    .progress =
                        [&](int64_t done) {
                          progress.Update(static_cast<uint64_t>(done));
                        }},
                   *data().train, InterruptFlag());
    if (absl::IsCancelled(targets.status())) return Interrupted();
    EDGETUNE_RETURN_IF_ERROR(targets.status());
    fitted_.data.train = data().train->WithTargets(*std::move(targets));
    return absl::OkStatus();
  }

  absl::Status Evaluate(uint32_t version) {
    if (data().heldout == nullptr || plan().rounds().eval_examples() == 0) {
      return absl::OkStatus();
    }
    const auto measured =
        trainer_->Evaluate(adapter_, *data().heldout,
                           plan().rounds().eval_examples(), InterruptFlag());
    if (absl::IsCancelled(measured.status())) return Interrupted();
    EDGETUNE_RETURN_IF_ERROR(measured.status());
    perplexity_.push_back(std::exp(measured->nll_sum / measured->tokens));
    output_.Note(fmt::format("held-out perplexity {}: {:.2f}", When(version),
                             perplexity_.back()));
    return absl::OkStatus();
  }

  absl::Status Train(uint32_t round) {
    TrainConfig config = FittedConfig(run_, fitted_, round, files_);
    config.profile = options_.profile;
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterVector correction,
                              Correction(round));
    config.correction = correction;
    EDGETUNE_ASSIGN_OR_RETURN(const double incoming_loss, IncomingLoss());
    auto on_progress = [&](const TrainProgress& at) {
      progress_->Update(
          uint64_t{round} * Steps() + at.step,
          fmt::format("round {} of {}, loss {:.3f}, {:.0f} tokens/s", round + 1,
                      config.rounds, at.loss, at.tokens_a_second));
    };
    EDGETUNE_ASSIGN_OR_RETURN(TrainResult result,
                              trainer_->Train(adapter_, *data().train, config,
                                              store_ ? &*store_ : nullptr,
                                              InterruptFlag(), on_progress));
    if (result.stopped) return Interrupted();
    loss_ = result.last_loss;
    if (UsesControls(plan())) {
      own_control_ =
          NextOwnControl(correction, result.delta, ControlWay(plan().train()));
    }
    if (result.profile) {
      AddProfile(*result.profile, profile_ ? *profile_ : profile_.emplace());
    }
    return Step(round,
                TakeSent(plan(), round, std::move(result.delta), adapter_),
                {.weight = WeightOf(plan(), data().train->size()),
                 .steps = result.steps,
                 .incoming_loss = incoming_loss});
  }

  // Empty where the plan has no control variates.
  absl::StatusOr<ParameterVector> Correction(uint32_t round) {
    if (!UsesControls(plan())) return ParameterVector();
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              UpdateLayout(plan(), round));
    own_control_.resize(layout.size());
    server_control_.resize(layout.size());
    return ControlCorrection(server_control_, own_control_);
  }

  // 0 where the plan does not ask for it.
  absl::StatusOr<double> IncomingLoss() {
    const v1::RoundsSpec& rounds = plan().rounds();
    if (rounds.fairness_q() == 0) return 0.0;
    const auto measured = trainer_->Evaluate(
        adapter_, *data().train, rounds.eval_examples(), InterruptFlag());
    if (absl::IsCancelled(measured.status())) return Interrupted();
    EDGETUNE_RETURN_IF_ERROR(measured.status());
    return IncomingLossOf(*measured);
  }

  absl::Status Step(uint32_t round, const ParameterVector& delta,
                    UpdateTerms terms) {
    const v1::RoundsSpec& rounds = plan().rounds();
    EDGETUNE_ASSIGN_OR_RETURN(CombineOptions options,
                              CombineOptionsOf(plan(), round));
    // Every rule but norm_bound makes of one update that update.
    if (options.rule != CombineRule::kNormBound) {
      options.rule = CombineRule::kMean;
    }
    if (rounds.weights() == "equal") terms.weight = 1;
    EDGETUNE_ASSIGN_OR_RETURN(
        const std::unique_ptr<UpdateFold> fold,
        MakeUpdateFold(plan(), [&] { return MakeAggregator(options); },
                       {.adapter = adapter_.values, .round = round}));
    EDGETUNE_RETURN_IF_ERROR(fold->Add(delta, terms));
    EDGETUNE_ASSIGN_OR_RETURN(Aggregator::Result result, fold->Finish());
    if (UsesControls(plan())) {
      // Whatever fleet.devices says: here is one, and it takes part.
      server_control_ =
          NextServerControl(server_control_, result.mean,
                            {.way = ControlWay(plan().train()), .share = 1});
    }
    EDGETUNE_ASSIGN_OR_RETURN(const auto ranges, StepRanges(plan(), round));
    return optimizer_->Step(result.mean, ranges, adapter_.values);
  }

  absl::Status Write() {
    progress_.reset();
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start_);
    const std::string sha256 =
        ToHex(Sha256Bytes(SerializeParameters(adapter_.values)));
    const Provenance provenance = {
        {"made_by", "edgetune train " EDGETUNE_VERSION},
        {"run", plan().name()},
        {"rounds", fmt::format("{}", plan().rounds().count())},
        {"base_sha256", BaseSha256(plan().model())},
        {"adapter_sha256", sha256},
        {"examples", fmt::format("{}", data().train->size())}};
    EDGETUNE_RETURN_IF_ERROR(WriteTrained(options_.out, adapter_, *run_.model,
                                          plan().model().name(), provenance));
    if (store_) {
      CheckpointFile::Remove(options_.checkpoint);
      std::error_code ignored;
      std::filesystem::remove(JournalPath(), ignored);
    }
    const MemoryChoice& choice = fitted_.memory.choice;
    std::string text = fmt::format("adapter {}\n", options_.out);
    for (size_t i = 0; i < perplexity_.size(); ++i) {
      text += fmt::format("held-out perplexity {}: {:.2f}\n", When(i),
                          perplexity_[i]);
    }
    nlohmann::json data = {
        {"adapter", options_.out},
        {"adapter_sha256", sha256},
        {"perplexity", perplexity_},
        {"train_loss", loss_},
        {"examples", this->data().train->size()},
        {"truncated", this->data().report.truncated},
        {"label_less", this->data().report.label_less},
        {"specials_in_content", this->data().report.specials_in_content},
        {"precision", trainer_->precision()},
        {"micro_batch", choice.micro_batch},
        {"recompute", choice.recompute},
        {"max_length", choice.max_length},
        {"predicted_peak", fitted_.memory.prediction.peak},
        {"rounds", plan().rounds().count()},
        {"seconds", seconds}};
    if (options_.profile) AddProfileTo(data, text);
    return output_.Finish(data, text);
  }

  // Null where the engine did not measure.
  void AddProfileTo(nlohmann::json& data, std::string& text) const {
    const auto steps = static_cast<int64_t>(TotalSteps());
    data["profile"] = profile_ ? ProfileJson(*profile_, steps) : nullptr;
    text += profile_ ? ProfileTable(*profile_, steps)
                     : "no profile: the engine reference does not measure "
                       "where its time goes\n";
  }

  const TrainOptions& options_;
  const Output& output_;
  PreparedRun run_;
  ClientFile::Data files_;
  FittedTraining fitted_;
  std::unique_ptr<ServerOptimizer> optimizer_;
  std::unique_ptr<StepJournal> journal_;  // these two: with --checkpoint
  std::optional<CheckpointFile> store_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Progress> progress_;
  Adapter adapter_;
  ParameterVector own_control_, server_control_;
  std::vector<double> perplexity_;
  double loss_ = 0;
  std::optional<StepProfile> profile_;  // of all rounds
  absl::Time start_;
};

absl::Status Train(const TrainOptions& options, const Output& output) {
  std::vector<std::string> sets = options.sets;
  if (!options.memory_budget.empty()) {
    sets.push_back("train.memory_budget=" + options.memory_budget);
  }
  EDGETUNE_ASSIGN_OR_RETURN(PreparedRun run,
                            PrepareRun(options.run_file, sets, ""));
  return LocalRun(options, output, std::move(run)).Execute();
}

}  // namespace

void AddTrainVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<TrainOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "train",
              "Execute a run file on this machine alone, as a cohort of one",
              [options, &output] { return Train(*options, output); });
  verb->add_option("run_file", options->run_file, "Run file (TOML)")
      ->required();
  verb->add_option("--data", options->data, "Training examples (JSONL)")
      ->required();
  verb->add_option("--heldout", options->heldout,
                   "Held-out examples (default: a share of the others)");
  verb->add_option("--teacher", options->teacher,
                   "Model to learn from besides, where the run asks for it "
                   "(train.teacher_alpha): name or path");
  verb->add_option("--out", options->out, "Directory for the PEFT adapter")
      ->required();
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_option("--memory-budget", options->memory_budget,
                   "train.memory_budget: 450MB");
  verb->add_option("--checkpoint", options->checkpoint,
                   "File to go on from after a stop; saved once a minute");
  verb->add_option("--threads", options->threads,
                   "0: OMP_NUM_THREADS, or all cores")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--profile", options->profile,
                 "Show where the time of a step went");
}

}  // namespace edgetune
