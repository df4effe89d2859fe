#include "config/run_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <limits>

#include "base/status.h"
#include "config/settings.h"
#include "config/toml_reader.h"

namespace edgetune {
namespace {

constexpr char kHint[] = "docs/reference/run-file.md lists every key";
constexpr std::string_view kVariablePrefix = "EDGETUNE_";
// The largest double below 1: an interval is [0, 1).
constexpr double kBelowOne = 1 - 0x1p-53;

void DeclareTraining(RunFile& run, Settings& settings) {
  settings.Text("model.base", &run.model.base);
  settings.Word("model.precision", &run.model.precision,
                {"auto", "fp32", "bf16", "int8"}, {"4bit"});
  settings.Whole("lora.rank", &run.lora.rank, 1, 1024);
  settings.Real("lora.alpha", &run.lora.alpha, 0, 1e9, true);
  settings.Words("lora.targets", &run.lora.targets,
                 {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                  "up_proj", "down_proj"});
  settings.Word("lora.rule", &run.lora.rule,
                {"fedit", "ffa", "rolora", "fedsa", "hetlora", "flexlora",
                 "fedsb", "fedex", "flora", "full"});
  settings.Whole("lora.frozen_rank", &run.lora.frozen_rank, 0, 1024);
  settings.Texts("lora.parts", &run.lora.parts);
  settings.Word(
      "data.schema", &run.data.schema,
      {"auto", "messages", "sharegpt", "prompt", "alpaca", "text", "image"});
  settings.Whole("data.max_length", &run.data.max_length, 2, 1 << 17);
  settings.Real("data.holdout", &run.data.holdout, 0, 0.5);
  auto& train = run.train;
  settings.Word("train.engine", &train.engine, {"auto", "fused", "reference"});
  settings.Real("train.lr", &train.lr, 0, 10, true);
  settings.Whole("train.steps", &train.steps, 0, 100000);
  settings.Whole("train.epochs", &train.epochs, 0, 1000);
  settings.Whole("train.batch", &train.batch, 1, 4096);
  settings.Whole("train.micro_batch", &train.micro_batch, 1, 4096);
  settings.Bytes("train.memory_budget", &train.memory_budget,
                 kSmallestMemoryBudget, kLargestMemoryBudget);
  settings.Word("train.schedule", &train.schedule, {"constant", "cosine"});
  settings.Whole("train.warmup", &train.warmup, 0, 1'000'000'000);
  settings.Real("train.grad_clip", &train.grad_clip, 0, 1e9);
  settings.Word("train.optimizer", &train.optimizer, {"adamw", "sgd"});
  settings.Real("train.momentum", &train.momentum, 0, kBelowOne);
  settings.Real("train.weight_decay", &train.weight_decay, 0, 10);
  settings.Word("train.objective", &train.objective,
                {"plain", "prox", "scaffold"});
  settings.Real("train.prox_mu", &train.prox_mu, 0, 1e9);
  settings.Real("train.teacher_alpha", &train.teacher_alpha, 0, 1);
  settings.Real("train.teacher_temperature", &train.teacher_temperature, 0.01,
                100);
  settings.Whole("train.teacher_top_k", &train.teacher_top_k, 1, 4096);
  settings.Whole("train.seed", &train.seed, 0,
                 std::numeric_limits<int64_t>::max());
}

void DeclareAggregator(RunFile::Rounds& rounds, Settings& settings) {
  settings.Word("rounds.aggregator", &rounds.aggregator,
                {"mean", "trimmed_mean", "median", "geometric_median", "krum",
                 "multi_krum", "bulyan", "norm_bound"});
  // Below a half, and a half is no value that a rule could use.
  settings.Real("rounds.trim", &rounds.trim, 0, 0.5 - 0x1p-54, true);
  settings.Whole("rounds.byzantine", &rounds.byzantine, 1, 100000);
  settings.Whole("rounds.kept", &rounds.kept, 0, 100000);
  settings.Real("rounds.norm_bound", &rounds.norm_bound, 0, 1e9, true);
}

void DeclareRounds(RunFile::Rounds& rounds, Settings& settings) {
  constexpr absl::Duration kWeek = absl::Hours(7 * 24);
  settings.Whole("rounds.count", &rounds.count, 1, 10000);
  settings.Whole("rounds.cohort", &rounds.cohort, 1, 100000);
  settings.Real("rounds.over_select", &rounds.over_select, 1, 3);
  settings.Whole("rounds.quorum", &rounds.quorum, 0, 100000);
  settings.Time("rounds.deadline", &rounds.deadline, absl::Seconds(1), kWeek);
  settings.Time("rounds.select_timeout", &rounds.select_timeout,
                absl::ZeroDuration(), kWeek);
  settings.Time("rounds.reconnect_grace", &rounds.reconnect_grace,
                absl::Milliseconds(1), absl::Hours(24));
  settings.Whole("rounds.attempts", &rounds.attempts, 1, 1000);
  DeclareAggregator(rounds, settings);
  settings.Word("rounds.weights", &rounds.weights, {"examples", "equal"});
  settings.Real("rounds.weight_cap", &rounds.weight_cap, 0, 1e9, true);
  settings.Real("rounds.clear_bound", &rounds.clear_bound, 0, 1e6, true);
  settings.Whole("rounds.eval_examples", &rounds.eval_examples, 1, 100000);
  settings.Word("rounds.server_optimizer", &rounds.server_optimizer,
                {"sgd", "momentum", "adam", "yogi", "adagrad"});
  settings.Real("rounds.server_lr", &rounds.server_lr, 0, 1000, true);
  settings.Real("rounds.server_beta1", &rounds.server_beta1, 0, kBelowOne);
  settings.Real("rounds.server_beta2", &rounds.server_beta2, 0, kBelowOne);
  settings.Real("rounds.server_epsilon", &rounds.server_epsilon, 0, 1, true);
  settings.Word("rounds.normalise", &rounds.normalise, {"none", "steps"});
  settings.Real("rounds.fairness_q", &rounds.fairness_q, 0, 20);
}

void DeclareSimulation(RunFile::Simulation& simulation, Settings& settings) {
  settings.Whole("simulation.clients", &simulation.clients, 0, 1'000'000);
  settings.AnyText("simulation.data", &simulation.data);
  settings.AnyText("simulation.teacher", &simulation.teacher);
  settings.Word("simulation.partition", &simulation.partition,
                {"iid", "dirichlet", "shards", "natural"});
  settings.AnyText("simulation.field", &simulation.field);
  settings.Real("simulation.alpha", &simulation.alpha, 1e-9, 1e9);
  settings.Whole("simulation.shards", &simulation.shards, 1, 1000);
  settings.Real("simulation.quantity_sigma", &simulation.quantity_sigma, 0, 5);
  settings.Whole("simulation.test_every", &simulation.test_every, 0, 10000);
  settings.Text("simulation.devices", &simulation.devices);
  settings.Word("simulation.trainer", &simulation.trainer, {"engine", "null"});
  settings.Word(
      "simulation.adversary", &simulation.adversary,
      {"none", "label_flip", "sign_flip", "scale", "backdoor", "free_rider"});
  settings.Real("simulation.adversary_share", &simulation.adversary_share, 0,
                0.5);
  settings.Real("simulation.adversary_scale", &simulation.adversary_scale, 0,
                1e6, true);
  settings.AnyText("simulation.adversary_trigger",
                   &simulation.adversary_trigger);
  settings.AnyText("simulation.adversary_target", &simulation.adversary_target);
}

void Declare(RunFile& run, int64_t* schema, Settings& settings) {
  settings.Whole("schema", schema, 1, 1);
  DeclareTraining(run, settings);
  settings.Text("fleet.population", &run.fleet.population);
  settings.Whole("fleet.devices", &run.fleet.devices, 0, 1'000'000);
  DeclareRounds(run.rounds, settings);
  settings.Flag("secagg.enabled", &run.secagg.enabled);
  settings.Whole("secagg.n_min", &run.secagg.n_min, 0, 300);
  settings.Whole("secagg.bits", &run.secagg.bits, 16, 32);
  settings.Real("secagg.bound", &run.secagg.bound, 1e-9, 64);
  settings.Whole("secagg.group", &run.secagg.group, 4, 300);
  settings.Whole("secagg.max_contributions", &run.secagg.max_contributions, 1,
                 1);
  settings.Word("privacy.mode", &run.privacy.mode, {"off"},
                {"central", "distributed", "tree"});
  DeclareSimulation(run.simulation, settings);
  settings.Planned({"privacy.clip", "privacy.epsilon", "privacy.delta",
                    "device", "tracking"});
}

SettingEntry Outside(std::string key, const std::string& text,
                     const std::string& origin, const std::string& at) {
  return {.key = std::move(key),
          .value = ParseTomlValue(text),
          .raw = text,
          .origin = origin,
          .key_at = at,
          .value_at = at};
}

// EDGETUNE_TRAIN__LR -> train.lr
std::string KeyOfVariable(std::string_view name) {
  std::string key;
  for (size_t i = kVariablePrefix.size(); i < name.size(); ++i) {
    if (name.substr(i, 2) == "__") {
      key += '.';
      ++i;
    } else {
      key += static_cast<char>(std::tolower(name[i]));
    }
  }
  return key;
}

// EDGETUNE_ENGINE_DIR and the like are not settings: no double underscore.
bool IsSettingVariable(std::string_view name) {
  return name.starts_with(kVariablePrefix) &&
         name.find("__", kVariablePrefix.size()) != name.npos;
}

std::vector<SettingEntry> OfEnvironment(
    const std::vector<std::pair<std::string, std::string>>& environment) {
  std::vector<SettingEntry> entries;
  for (const auto& [name, text] : environment) {
    if (!IsSettingVariable(name)) continue;
    entries.push_back(Outside(KeyOfVariable(name), text, name,
                              "environment variable " + name));
  }
  return entries;
}

absl::StatusOr<std::vector<SettingEntry>> OfSets(
    const std::vector<std::string>& sets) {
  std::vector<SettingEntry> entries;
  for (const std::string& set : sets) {
    const size_t equals = set.find('=');
    if (equals == set.npos || equals == 0) {
      return absl::InvalidArgumentError(
          fmt::format("--set {}: wanted section.key=value", set));
    }
    entries.push_back(Outside(set.substr(0, equals), set.substr(equals + 1),
                              "--set", "--set " + set));
  }
  return entries;
}

absl::Status CheckAtMost(const Settings& settings, const std::string& key,
                         int64_t value, const std::string& limit_key,
                         int64_t limit) {
  if (value <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} = {} ({}) is more than {} = {} ({})", key, value,
      settings.OriginOf(key), limit_key, limit, settings.OriginOf(limit_key)));
}

// A round is so many steps or so many passes over the examples.
absl::Status ResolveLength(const Settings& settings, RunFile& run) {
  auto& train = run.train;
  const bool epochs = train.epochs > 0;
  if (!epochs && train.steps == 0) {
    return absl::InvalidArgumentError(
        fmt::format("train.steps = 0 ({}) wants train.epochs, which is 0 too",
                    settings.OriginOf("train.steps")));
  }
  if (epochs && train.steps != 0 &&
      settings.OriginOf("train.steps") != "default") {
    return absl::InvalidArgumentError(fmt::format(
        "train.steps = {} ({}) and train.epochs = {} ({}): wanted one of them",
        train.steps, settings.OriginOf("train.steps"), train.epochs,
        settings.OriginOf("train.epochs")));
  }
  if (epochs) train.steps = 0;
  const int64_t length =
      (epochs ? train.epochs : train.steps) * run.rounds.count;
  if (train.warmup <= length) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("train.warmup = {} ({}) is more than the {} {} of all rounds",
                  train.warmup, settings.OriginOf("train.warmup"), length,
                  epochs ? "epochs" : "steps"));
}

absl::Status CheckFrozenRank(const Settings& settings,
                             const RunFile::Lora& lora) {
  if (lora.frozen_rank == 0 || lora.rule == "fedex" || lora.rule == "flora") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "lora.frozen_rank = {} ({}) is for lora.rule fedex and flora; "
      "lora.rule = {} ({}) has no frozen slices",
      lora.frozen_rank, settings.OriginOf("lora.frozen_rank"), lora.rule,
      settings.OriginOf("lora.rule")));
}

absl::Status CheckParts(const Settings& settings, const RunFile::Lora& lora) {
  if (lora.parts.empty() || lora.rule == "full") return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "lora.parts ({}) is for lora.rule full; lora.rule = {} ({}) trains "
      "lora.targets",
      settings.OriginOf("lora.parts"), lora.rule,
      settings.OriginOf("lora.rule")));
}

// Relations between values, whatever source each came from.
absl::Status Resolve(const Settings& settings, RunFile& run) {
  auto& rounds = run.rounds;
  if (rounds.quorum != 0) {
    EDGETUNE_RETURN_IF_ERROR(CheckAtMost(settings, "rounds.quorum",
                                         rounds.quorum, "rounds.cohort",
                                         rounds.cohort));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckAtMost(settings, "train.micro_batch",
                                       run.train.micro_batch, "train.batch",
                                       run.train.batch));
  EDGETUNE_RETURN_IF_ERROR(CheckFrozenRank(settings, run.lora));
  EDGETUNE_RETURN_IF_ERROR(CheckParts(settings, run.lora));
  EDGETUNE_RETURN_IF_ERROR(ResolveLength(settings, run));
  if (rounds.select_timeout > absl::ZeroDuration() &&
      rounds.select_timeout < absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        fmt::format("rounds.select_timeout = {} ({}) is too short, wanted at "
                    "least 1s, or 0s for the deadline",
                    absl::FormatDuration(rounds.select_timeout),
                    settings.OriginOf("rounds.select_timeout")));
  }
  return absl::OkStatus();
}

// What a file says of files is relative to it. Devices may also be a preset: a
// plain word.
void Anchor(const std::string& file, RunFile::Simulation& simulation) {
  const auto directory = std::filesystem::path(file).parent_path();
  const auto anchor = [&](std::string& path) {
    path = (directory / path).lexically_normal().string();
  };
  if (!simulation.data.empty()) anchor(simulation.data);
  if (simulation.devices.find_first_of("./") != std::string::npos) {
    anchor(simulation.devices);
  }
}

using Environment = std::vector<std::pair<std::string, std::string>>;

absl::Status ApplyAll(const std::string& path,
                      const std::vector<std::string>& sets,
                      const Environment& environment, Settings& settings,
                      RunFile& run) {
  if (!path.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto file, ReadTomlFile(path));
    EDGETUNE_RETURN_IF_ERROR(settings.Apply(file));
    Anchor(path, run.simulation);
    if (settings.OriginOf("schema") == "default") {
      return absl::InvalidArgumentError(
          fmt::format("{}: key schema is missing, wanted schema = 1", path));
    }
  }
  EDGETUNE_RETURN_IF_ERROR(settings.Apply(OfEnvironment(environment)));
  EDGETUNE_ASSIGN_OR_RETURN(const auto flags, OfSets(sets));
  return settings.Apply(flags);
}

}  // namespace

absl::StatusOr<RunFile> ReadRunFile(
    const std::string& path, const std::vector<std::string>& sets,
    const std::vector<std::pair<std::string, std::string>>& environment,
    std::vector<ConfigOrigin>* origins) {
  RunFile run;
  int64_t schema = 1;
  Settings settings;
  Declare(run, &schema, settings);
  absl::Status status = ApplyAll(path, sets, environment, settings, run);
  if (status.ok()) status = Resolve(settings, run);
  if (!status.ok()) return Annotate(status, ErrorKind::kConfig, kHint);
  if (origins != nullptr) *origins = settings.Origins();
  return run;
}

std::vector<std::pair<std::string, std::string>> EdgetuneEnvironment() {
  std::vector<std::pair<std::string, std::string>> found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals == text.npos || !IsSettingVariable(text.substr(0, equals))) {
      continue;
    }
    found.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return found;
}

}  // namespace edgetune
