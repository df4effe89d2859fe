#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/time/clock.h"
#include "base/process_memory.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/local_work.h"
#include "tools/child_process.h"
#include "tools/federation/plan_builder.h"
#include "tools/local/fitted_training.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct CheckOptions {
  std::string run_file, model, targets, memory_budget;
  std::vector<std::string> sets;
  ClientFile::Data data;
  int64_t rank = 0, threads = 0;
  bool no_measure = false;
};

// Flags of the verb's own are keys of the run file.
std::vector<std::string> SetsOf(const CheckOptions& options) {
  std::vector<std::string> sets = options.sets;
  const auto set = [&](const char* key, const std::string& value) {
    if (!value.empty()) sets.push_back(fmt::format("{}={}", key, value));
  };
  set("model.base", options.model);
  set("lora.targets", options.targets);
  set("train.memory_budget", options.memory_budget);
  if (options.rank > 0) set("lora.rank", std::to_string(options.rank));
  return sets;
}

// One optimiser step on the device's own data.
struct Measured {
  double seconds = 0;
  uint64_t peak = 0;
};

absl::StatusOr<Measured> MeasureStep(const CheckOptions& options,
                                     const PreparedRun& run,
                                     const FittedTraining& fitted) {
  CatchInterrupts();
  EDGETUNE_ASSIGN_OR_RETURN(const auto trainer,
                            MakeFittedTrainer(run, fitted, options.threads));
  TrainConfig config = FittedConfig(run, fitted, 0, options.data);
  config.steps = 1;
  const absl::Time start = absl::Now();
  EDGETUNE_ASSIGN_OR_RETURN(
      const TrainResult result,
      trainer->Train(run.built.initial, *fitted.data.train, config, nullptr,
                     InterruptFlag(), {}));
  if (result.stopped) return InterruptedError();
  return Measured{absl::ToDoubleSeconds(absl::Now() - start),
                  PeakResidentBytes()};
}

std::string WeightsText(WeightMemory weights) {
  return weights == WeightMemory::kMapped ? "in the model's file"
                                          : "copied into memory";
}

std::string Text(const PreparedRun& run, const FittedTraining& fitted,
                 const std::optional<Measured>& measured) {
  const MemoryChoice& choice = fitted.memory.choice;
  const v1::TrainSpec& train = run.built.plan.train();
  std::vector<std::vector<std::string>> rows = {
      {"what", "plan"},
      {"weights", WeightsText(choice.weights)},
      {"examples a pass",
       fmt::format("{} of {}", choice.micro_batch, train.batch())},
      {"steps a round",
       fmt::format("{}", StepsOf(train, static_cast<uint64_t>(
                                            fitted.data.train->size())))},
      {"activations", choice.recompute ? "computed again" : "kept"},
      {"longest example",
       choice.max_length > 0
           ? fmt::format("cut to {} tokens", choice.max_length)
           : fmt::format("{} tokens at most",
                         run.built.plan.data().max_length())}};
  std::string text = FormatTable(rows) + "\n";
  rows = {{"in memory", "MB"}};
  const auto add = [&](const std::string& name, uint64_t bytes) {
    rows.push_back({name, fmt::format("{:.1f}", bytes / 1e6)});
  };
  for (const MemoryPart& part : fitted.memory.prediction.parts) {
    add(part.name, part.bytes);
  }
  add("predicted peak", fitted.memory.prediction.peak);
  if (train.memory_budget() != 0) add("memory budget", train.memory_budget());
  if (measured) add("measured peak, one step", measured->peak);
  text += FormatTable(rows, {1});
  if (measured) {
    text += fmt::format("\na step takes {} (measured, the first)\n",
                        FormatSeconds(measured->seconds));
  }
  return text;
}

nlohmann::json JsonOf(const PreparedRun& run, const FittedTraining& fitted,
                      const std::optional<Measured>& measured) {
  const MemoryChoice& choice = fitted.memory.choice;
  nlohmann::json parts = nlohmann::json::array();
  for (const MemoryPart& part : fitted.memory.prediction.parts) {
    parts.push_back({{"name", part.name}, {"bytes", part.bytes}});
  }
  nlohmann::json out = {
      {"weights",
       choice.weights == WeightMemory::kMapped ? "mapped" : "copied"},
      {"micro_batch", choice.micro_batch},
      {"steps", StepsOf(run.built.plan.train(),
                        static_cast<uint64_t>(fitted.data.train->size()))},
      {"recompute", choice.recompute},
      {"max_length", choice.max_length},
      {"parts", std::move(parts)},
      {"predicted_peak", fitted.memory.prediction.peak},
      {"memory_budget", run.built.plan.train().memory_budget()}};
  if (measured) {
    out["measured_peak"] = measured->peak;
    out["step_seconds"] = measured->seconds;
  }
  return out;
}

absl::Status Check(const CheckOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const PreparedRun run,
                            PrepareRun(options.run_file, SetsOf(options), ""));
  if (!MeansFused(run.built.plan.train().engine())) {
    return Annotate(
        absl::InvalidArgumentError(
            "the memory of the reference engine cannot be predicted"),
        ErrorKind::kConfig, "take train.engine = \"fused\"");
  }
  EDGETUNE_ASSIGN_OR_RETURN(const FittedTraining fitted,
                            FitTraining(run, options.data, options.threads));
  std::optional<Measured> measured;
  if (!options.no_measure) {
    output.Note("measuring one step");
    EDGETUNE_ASSIGN_OR_RETURN(measured, MeasureStep(options, run, fitted));
  }
  return output.Finish(JsonOf(run, fitted, measured),
                       Text(run, fitted, measured));
}

}  // namespace

void AddCheckVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<CheckOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "check",
              "Whether training fits this machine's memory, how, and how long "
              "a step takes",
              [options, &output] { return Check(*options, output); });
  verb->add_option("run_file", options->run_file,
                   "Run file (TOML); without it the defaults");
  verb->add_option("--model", options->model, "Name or path; model.base");
  verb->add_option("--data", options->data.train, "Training examples")
      ->required();
  verb->add_option("--heldout", options->data.heldout,
                   "Held-out examples (default: a share of the others)");
  verb->add_option("--rank", options->rank, "lora.rank")
      ->check(CLI::PositiveNumber);
  verb->add_option("--targets", options->targets,
                   "lora.targets: q_proj,v_proj");
  verb->add_option("--memory-budget", options->memory_budget,
                   "train.memory_budget: 450MB");
  verb->add_option("--set", options->sets, "Override a key: train.batch=4");
  verb->add_option("--threads", options->threads,
                   "0: OMP_NUM_THREADS, or all cores")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--no-measure", options->no_measure,
                 "Predict alone: no step is made");
}

}  // namespace edgetune
