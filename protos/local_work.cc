#include "protos/local_work.h"

#include <fmt/format.h>

#include <string>

#include "protos/plan_check.h"

namespace edgetune {
namespace {

constexpr uint64_t kMostEpochs = 1000;
constexpr double kLargestFairness = 20;
constexpr uint64_t kMostTopK = 4096;
constexpr uint64_t kMostDevices = 1'000'000;

// The largest double below 1.
constexpr double kBelowOne = 1 - 0x1p-53;

bool IsSgd(const v1::TrainSpec& train) { return train.optimizer() == "sgd"; }

bool IsProx(const v1::TrainSpec& train) { return train.objective() == "prox"; }

void CheckLength(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::TrainSpec& train = plan.train();
  if (train.epochs() == 0) {
    check.Whole("train.steps", train.steps(), 1, kMostSteps);
  } else {
    check.Whole("train.epochs", train.epochs(), 1, kMostEpochs);
    check.Require(train.steps() == 0, "train.steps",
                  std::to_string(train.steps()),
                  fmt::format("0 beside train.epochs = {}: a round is so many "
                              "steps or so many passes",
                              train.epochs()));
  }
  check.Whole("train.batch", train.batch(), 1, 4096);
  check.Whole("train.micro_batch", train.micro_batch(), 1, train.batch());
  check.Word("train.schedule", train.schedule(), {"constant", "cosine"});
  const uint64_t length = train.epochs() > 0 ? train.epochs() : train.steps();
  check.Whole("train.warmup", train.warmup(), 0,
              length * plan.rounds().count());
}

void CheckOptimizer(const v1::TrainSpec& train, FieldChecks& check) {
  check.Positive("train.lr", train.lr(), 10);
  if (!train.optimizer().empty()) {
    check.Word("train.optimizer", train.optimizer(), {"adamw", "sgd"});
  }
  check.Real("train.momentum", train.momentum(), 0, kBelowOne);
  check.Require(train.momentum() == 0 || IsSgd(train), "train.momentum",
                fmt::format("{}", train.momentum()),
                "0 with the optimiser adamw, which has its own moments");
  check.Real("train.grad_clip", train.grad_clip(), 0, kLargestSetting);
  check.Real("train.weight_decay", train.weight_decay(), 0, 10);
}

void CheckObjective(const v1::TrainSpec& train, FieldChecks& check) {
  if (!train.objective().empty()) {
    check.Word("train.objective", train.objective(),
               {"plain", "prox", "scaffold"});
  }
  if (IsProx(train)) {
    check.Positive("train.prox_mu", train.prox_mu(), kLargestSetting);
  } else {
    check.Require(train.prox_mu() == 0, "train.prox_mu",
                  fmt::format("{}", train.prox_mu()),
                  "0 unless train.objective is \"prox\"");
  }
}

void CheckTeacher(const v1::TrainSpec& train, FieldChecks& check) {
  check.Real("train.teacher_alpha", train.teacher_alpha(), 0, 1);
  if (train.teacher_alpha() > 0) {
    check.Real("train.teacher_temperature", train.teacher_temperature(), 0.01,
               100);
    check.Whole("train.teacher_top_k", train.teacher_top_k(), 1, kMostTopK);
    return;
  }
  check.Require(train.teacher_temperature() == 0, "train.teacher_temperature",
                fmt::format("{}", train.teacher_temperature()),
                "0 unless train.teacher_alpha is above 0");
  check.Require(train.teacher_top_k() == 0, "train.teacher_top_k",
                std::to_string(train.teacher_top_k()),
                "0 unless train.teacher_alpha is above 0");
}

// Both rest on every single update and on what local SGD did to it.
void CheckReweighing(const v1::TaskPlan& plan, const std::string& field,
                     const std::string& value, FieldChecks& check) {
  check.Require(IsSgd(plan.train()), field, value,
                "train.optimizer = \"sgd\" beside it: its theory takes an "
                "update for a sum of gradients, which one of adamw is not");
  check.Require(!plan.secagg().enabled(), field, value,
                "secagg.enabled = false beside it: it needs each device's own "
                "number, which masking hides");
  check.Require(plan.rounds().aggregator() == "mean", field, value,
                "rounds.aggregator = \"mean\" beside it");
}

// FedNova's norm of a local solver is known for one rate, with momentum or with
// a proximal term.
void CheckNormalise(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::TrainSpec& train = plan.train();
  const std::string& word = plan.rounds().normalise();
  if (!word.empty()) {
    check.Word("rounds.normalise", word, {"none", "steps"});
  }
  if (word != "steps") return;
  const std::string got = Quoted(word);
  const auto require = [&](bool condition, const char* wanted) {
    check.Require(condition, "rounds.normalise", got, wanted);
  };
  require(train.epochs() > 0,
          "train.epochs beside it: with train.steps all devices make equally "
          "many and there is nothing to normalise");
  CheckReweighing(plan, "rounds.normalise", got, check);
  require(train.schedule() == "constant" && train.warmup() == 0,
          "train.schedule = \"constant\" without warm-up beside it: steps of "
          "unequal rates are not counted alike");
  require(train.momentum() == 0 || !IsProx(train),
          "momentum or the objective prox beside it, not both: no norm is "
          "known for the two together");
  require(!IsProx(train) || train.lr() * train.prox_mu() < 1,
          "lr * prox_mu below 1 beside it: otherwise a step leaps over the "
          "adapter that prox holds to");
}

void CheckFairness(const v1::TaskPlan& plan, FieldChecks& check) {
  const double q = plan.rounds().fairness_q();
  check.Real("rounds.fairness_q", q, 0, kLargestFairness);
  if (q == 0) return;
  const std::string got = fmt::format("{}", q);
  CheckReweighing(plan, "rounds.fairness_q", got, check);
  check.Require(plan.rounds().normalise() != "steps", "rounds.fairness_q", got,
                "0 beside rounds.normalise = \"steps\": each weighs updates in "
                "its own way");
}

// Of what devices do: a control variate is read off an update as the mean of
// its gradients.
void CheckControlledSteps(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::TrainSpec& train = plan.train();
  const auto require = [&](bool condition, const char* wanted) {
    check.Require(condition, "train.objective", Quoted(train.objective()),
                  wanted);
  };
  require(IsSgd(train) && train.momentum() == 0,
          "train.optimizer = \"sgd\" without momentum beside it: of another's "
          "update the mean gradient cannot be told");
  require(train.schedule() == "constant" && train.warmup() == 0,
          "train.schedule = \"constant\" without warm-up beside it: an update "
          "over steps times rate is a mean gradient at one rate only");
  require(train.epochs() == 0,
          "train.steps beside it, not train.epochs: the coordinator moves its "
          "control variate by the updates' mean, which takes equally many "
          "steps of all");
  require(train.grad_clip() == 0,
          "train.grad_clip = 0 beside it: a control variate would hold what "
          "clipping cut off");
  const std::string& rule = plan.lora().rule();
  require(
      rule == "fedit" || rule == "ffa" || rule == "full",
      "lora.rule = \"fedit\", \"ffa\" or \"full\" beside it: of factors that "
      "take "
      "turns a control variate would be as old as a round, and of ones that "
      "stay on the device the coordinator has none");
}

// Of what becomes of updates: the server's variate is the mean of the devices'.
void CheckControlledMean(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::RoundsSpec& rounds = plan.rounds();
  const auto require = [&](bool condition, const char* wanted) {
    check.Require(condition, "train.objective",
                  Quoted(plan.train().objective()), wanted);
  };
  require(rounds.aggregator() == "mean",
          "rounds.aggregator = \"mean\" beside it: the server's control "
          "variate is the mean of the devices'");
  require(rounds.weights() == "equal",
          "rounds.weights = \"equal\" beside it: the server's control variate "
          "is the plain mean over all devices, and it knows no weights of "
          "those that it did not ask");
  require(rounds.fairness_q() == 0,
          "rounds.fairness_q = 0 beside it: updates must count alike");
  check.Whole("fleet.devices", plan.fleet().devices(), CohortAsked(rounds),
              kMostDevices);
}

void CheckControls(const v1::TaskPlan& plan, FieldChecks& check) {
  if (UsesControls(plan)) {
    CheckControlledSteps(plan, check);
    CheckControlledMean(plan, check);
    return;
  }
  check.Require(plan.fleet().devices() == 0, "fleet.devices",
                std::to_string(plan.fleet().devices()),
                "0 unless train.objective is \"scaffold\"");
}

}  // namespace

bool UsesControls(const v1::TaskPlan& plan) {
  return plan.train().objective() == "scaffold";
}

bool KeepsOwnVector(const v1::TaskPlan& plan) {
  return UsesControls(plan) || KeepsOwnFactor(plan);
}

double ControlWay(const v1::TrainSpec& train) {
  return train.steps() * train.lr();
}

uint64_t StepsOf(const v1::TrainSpec& train, uint64_t examples) {
  if (train.epochs() == 0) return train.steps();
  return (train.epochs() * examples + train.batch() - 1) / train.batch();
}

void CheckLocalWork(const v1::TaskPlan& plan, FieldChecks& check) {
  const v1::TrainSpec& train = plan.train();
  check.Word("train.engine", train.engine(), {"auto", "fused", "reference"});
  check.Require(
      plan.model().precision() != "int8" || train.engine() != "reference",
      "model.precision", "int8 with the engine reference",
      "the engine fused or auto");
  if (train.memory_budget() != 0) {
    check.Whole("train.memory_budget", train.memory_budget(), 1'000'000,
                1'000'000'000'000);
  }
  CheckLength(plan, check);
  CheckOptimizer(train, check);
  CheckObjective(train, check);
  CheckTeacher(train, check);
  CheckNormalise(plan, check);
  CheckFairness(plan, check);
  CheckControls(plan, check);
}

}  // namespace edgetune
