#include "client/memory_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/process_memory.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "base/thread_count.h"
#include "client/own_teacher.h"
#include "client/train_plan.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

// A run of more examples than this is not walked through; its memory is that
// of its longest examples in one step.
constexpr uint64_t kMostWalked = 200'000;

ExampleSize SizeOf(const LabelledTokens& example) {
  ExampleSize size;
  size.tokens = static_cast<int64_t>(example.tokens.size());
  for (size_t i = 1; i < example.labelled.size(); ++i) {
    size.labels += example.labelled[i] != 0 ? 1 : 0;
  }
  return size;
}

std::vector<ExampleSize> SizesOf(const ExampleSet& examples, int64_t most) {
  std::vector<ExampleSize> sizes;
  for (int64_t i = 0; i < std::min(most, examples.size()); ++i) {
    sizes.push_back(SizeOf(examples.Get(i)));
  }
  return sizes;
}

// The examples of every step in the order in which a trainer takes them.
std::vector<std::vector<ExampleSize>> BatchesOf(
    const LocalTraining& training, const std::vector<ExampleSize>& sizes) {
  const auto examples = static_cast<int64_t>(sizes.size());
  std::vector<std::vector<ExampleSize>> steps;
  for (uint32_t round = 0; round < training.plan.rounds().count(); ++round) {
    const TrainConfig config =
        TrainConfigOf(training.plan, round, {training.data_name, examples});
    ExampleOrder order(config.seed, examples);
    for (int64_t step = 0; step < config.steps; ++step) {
      std::vector<ExampleSize>& batch = steps.emplace_back();
      for (const int64_t i : order.Batch(config, step)) {
        batch.push_back(sizes[static_cast<size_t>(i)]);
      }
    }
  }
  return steps;
}

// One step of the longest examples, over and over if there are few.
std::vector<ExampleSize> WorstStep(const v1::TaskPlan& plan,
                                   std::vector<ExampleSize> sizes) {
  std::sort(sizes.begin(), sizes.end(),
            [](const ExampleSize& a, const ExampleSize& b) {
              return a.tokens > b.tokens;
            });
  std::vector<ExampleSize> step;
  for (size_t i = 0; i < plan.train().batch(); ++i) {
    step.push_back(sizes[i % sizes.size()]);
  }
  return step;
}

// In the round that trains most of them.
int64_t TrainedCoordinates(const v1::TaskPlan& plan, int64_t rank) {
  size_t most = 0;
  for (uint32_t round = 0; round < std::min(plan.rounds().count(), 2u);
       ++round) {
    auto adapter = AdapterLayout(plan);
    if (!adapter.ok()) continue;
    const int64_t frozen = FrozenRank(plan);
    if (rank < plan.lora().rank()) {
      adapter = LayoutOfRank(*adapter, rank + frozen);
    }
    size_t trained = LayoutOf(*adapter, TrainedFactors(plan, round)).size();
    // The engine holds B R and its gradient beside R, or all slices and their
    // gradients beside those trained: counted as trained, which is more than
    // they take.
    if (TrainsCores(plan)) trained += LayoutOf(*adapter, Factors::kB).size();
    if (frozen > 0) trained += LayoutOfRank(*adapter, rank).size();
    most = std::max(most, trained);
  }
  return static_cast<int64_t>(most);
}

}  // namespace

uint64_t MemoryBudgetOf(const v1::TaskPlan& plan,
                        const ClientFile::Train& device) {
  const uint64_t plans = plan.train().memory_budget();
  const uint64_t devices = device.memory_budget;
  if (plans == 0 || devices == 0) return std::max(plans, devices);
  return std::min(plans, devices);
}

MemoryWork MemoryWorkOf(const LocalTraining& training) {
  const v1::TaskPlan& plan = training.plan;
  MemoryWork work;
  work.model = training.model.config();
  work.tensors = training.model.tensors();
  work.bf16 = training.bf16;
  work.int8 = plan.model().precision() == "int8";
  work.threads = ThreadCount(static_cast<int>(training.threads));
  work.lora = AdapterSpecOf(plan);
  const int64_t trained =
      training.rank != 0 ? training.rank : plan.lora().rank();
  work.lora.rank = trained + FrozenRank(plan);
  work.trained = TrainedCoordinates(plan, trained);
  work.moments = static_cast<int64_t>(MomentsOf(TrainConfigOf(plan, 0, {})));
  work.corrected = UsesControls(plan);
  const ExampleSet& examples = *training.data.train;
  work.taught = AsksTeachers(plan);
  auto sizes = SizesOf(examples, examples.size());
  if (plan.rounds().fairness_q() > 0) {
    work.incoming = SizesOf(examples, plan.rounds().eval_examples());
  }
  const uint64_t walked = uint64_t{plan.rounds().count()} *
                          StepsOf(plan.train(), sizes.size()) *
                          plan.train().batch();
  if (walked <= kMostWalked) {
    work.steps = BatchesOf(training, sizes);
  } else {
    work.steps = {WorstStep(plan, std::move(sizes))};
  }
  if (training.data.heldout != nullptr) {
    work.held_out =
        SizesOf(*training.data.heldout, plan.rounds().eval_examples());
  }
  work.resident =
      training.resident.has_value() ? *training.resident : ResidentBytes();
  return work;
}

absl::StatusOr<MemoryPlan> FitToMemory(const LocalTraining& training,
                                       uint64_t budget) {
  if (MeansFused(training.engine)) {
    return PlanMemory(MemoryWorkOf(training),
                      training.plan.train().micro_batch(), budget);
  }
  if (budget != 0) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "a memory budget is for the fused engine; this training takes {}",
            training.engine)),
        ErrorKind::kFailed, "take train.engine = \"fused\", or no budget");
  }
  return MemoryPlan{{.micro_batch = training.plan.train().micro_batch()}, {}};
}

v1::TaskPlan WithLength(v1::TaskPlan plan, const MemoryChoice& choice) {
  if (choice.max_length == 0) return plan;
  v1::DataSpec* data = plan.mutable_data();
  data->set_max_length(
      std::min(data->max_length(), static_cast<uint32_t>(choice.max_length)));
  return plan;
}

}  // namespace edgetune
