#include "client/train_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/random.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "models/io/adapter/core_adapter.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "training/parse.h"

namespace edgetune {

uint64_t ClientSeed(uint64_t plan_seed, uint32_t round,
                    std::string_view data_name) {
  return Random(plan_seed)
      .Split(fmt::format("client/{}", data_name), round)
      .Next();
}

uint64_t HeldOutSeed(uint64_t plan_seed, std::string_view data_name) {
  return Random(plan_seed).Split(fmt::format("heldout/{}", data_name)).Next();
}

TrainConfig TrainConfigOf(const v1::TaskPlan& plan, uint32_t round,
                          const TrainingData& data) {
  const v1::TrainSpec& train = plan.train();
  TrainConfig config;
  config.lr = train.lr();
  config.epochs = train.epochs();
  config.steps = static_cast<int64_t>(
      StepsOf(train, static_cast<uint64_t>(data.examples)));
  config.batch = train.batch();
  config.micro_batch = train.micro_batch();
  config.schedule =
      train.schedule() == "cosine" ? Schedule::kCosine : Schedule::kConstant;
  config.warmup = train.warmup();
  config.grad_clip = train.grad_clip();
  config.optimizer =
      train.optimizer() == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamW;
  config.momentum = train.momentum();
  config.weight_decay = train.weight_decay();
  config.prox_mu = train.prox_mu();
  config.teacher_alpha = train.teacher_alpha();
  config.seed = ClientSeed(train.seed(), round, data.name);
  config.round = round;
  config.rounds = plan.rounds().count();
  config.factors = TrainedFactors(plan, round);
  config.frozen_rank = FrozenRank(plan);
  return config;
}

absl::StatusOr<int64_t> RankOf(const v1::TaskPlan& plan, int64_t largest) {
  const int64_t rank = plan.lora().rank();
  if (largest == 0 || rank <= largest) return rank;
  if (TrainsSlices(plan)) return largest;
  return absl::FailedPreconditionError(
      fmt::format("the plan's adapter has rank {}, this device trains at most "
                  "{}; under lora.rule hetlora it would train a part",
                  rank, largest));
}

Adapter PartOf(const v1::TaskPlan& plan, Adapter adapter, int64_t rank) {
  if (rank >= plan.lora().rank()) return adapter;
  return WithoutSlices(adapter, rank, plan.lora().rank());
}

ParameterVector TakeSent(const v1::TaskPlan& plan, uint32_t round,
                         ParameterVector delta, Adapter& adapter) {
  const int64_t rank = adapter.spec.rank - FrozenRank(plan);
  if (rank < plan.lora().rank()) {
    const auto whole = UpdateLayout(plan, round);
    EDGETUNE_CHECK(whole.ok());  // of a checked plan
    return PadSlices(delta, *whole, rank);
  }
  if (!KeepsOwnFactor(plan)) return delta;
  // All is trained: delta is laid out as the adapter.
  const auto own = RangesOf(adapter.layout, Factors::kB);
  ParameterVector values = Gather(adapter.values, own);
  const ParameterVector change = Gather(delta, own);
  for (size_t i = 0; i < values.size(); ++i) values[i] += change[i];
  Scatter(values, own, adapter.values);
  return Gather(delta, RangesOf(adapter.layout, UpdateFactors(plan, round)));
}

absl::Status CheckExamples(const v1::TaskPlan& plan, int64_t examples) {
  const v1::TrainSpec& train = plan.train();
  if (StepsOf(train, static_cast<uint64_t>(examples)) <= kMostSteps) {
    return absl::OkStatus();
  }
  // The coordinator reads it: not how many examples there are.
  return absl::FailedPreconditionError(fmt::format(
      "train.epochs = {} over this device's training examples are more than "
      "the "
      "{} steps of {} that a round may have; fewer epochs or a larger batch "
      "would do",
      train.epochs(), kMostSteps, train.batch()));
}

AdapterSpec AdapterSpecOf(const v1::TaskPlan& plan) {
  AdapterSpec spec;
  spec.rank = plan.lora().rank();
  spec.alpha = plan.lora().alpha();
  spec.targets.assign(plan.lora().targets().begin(),
                      plan.lora().targets().end());
  const int64_t frozen = FrozenRank(plan);
  return frozen == 0 ? spec : WithMoreRank(std::move(spec), frozen);
}

TextDataOptions DataOptionsOf(const v1::TaskPlan& plan) {
  return {.schema = plan.data().schema(),
          .max_length = plan.data().max_length()};
}

EngineOptions EngineOptionsOf(const v1::TaskPlan& plan, int64_t threads,
                              const MemoryChoice& choice) {
  EngineOptions options;
  // A word that plan_check let through.
  options.precision =
      ParsePrecision(plan.model().precision()).value_or(Precision::kAuto);
  options.threads = static_cast<int>(threads);
  options.weights = choice.weights;
  options.recompute = choice.recompute;
  return options;
}

absl::StatusOr<double> IncomingLossOf(const Evaluation& evaluation) {
  const double loss =
      evaluation.nll_sum / static_cast<double>(evaluation.tokens);
  if (loss <= kLargestIncomingLoss) return std::max(loss, kLeastIncomingLoss);
  return absl::DataLossError(fmt::format(
      "the incoming adapter's loss on the training examples is {}, at most {} "
      "can be weighed",
      loss, kLargestIncomingLoss));
}

double WeightOf(const v1::TaskPlan& plan, int64_t examples) {
  return std::min(static_cast<double>(examples), plan.rounds().weight_cap());
}

absl::StatusOr<std::string> EngineOf(const v1::TaskPlan& plan,
                                     const std::string& device_engine) {
  const std::string& wanted = plan.train().engine();
  if (wanted == "auto") return device_engine;
  if (device_engine == "auto" || wanted == device_engine) return wanted;
  return absl::FailedPreconditionError(
      fmt::format("the plan wants engine {}, this device is set to {}", wanted,
                  device_engine));
}

absl::Status CheckLayout(const v1::TaskPlan& plan, const ModelConfig& model) {
  EDGETUNE_ASSIGN_OR_RETURN(ParameterLayout wanted,
                            AdapterLayoutOf(model, AdapterSpecOf(plan)));
  if (TrainsCores(plan)) wanted = WithCores(wanted);
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout got, AdapterLayout(plan));
  if (got == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "the plan's adapter layout has {} tensors and {} coordinates, its LoRA "
      "settings on this base model give {} and {}, or other names and shapes",
      got.tensors().size(), got.size(), wanted.tensors().size(),
      wanted.size()));
}

}  // namespace edgetune
