#include "simulations/runner/fleet_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "base/units.h"
#include "client/memory_budget.h"
#include "client/train_plan.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

// Measured (docs/howto/simulate.md): the database and client of a device, and
// what a session adds to it in client and coordinator, but for its vectors.
constexpr uint64_t kDeviceBytes = 140'000;
constexpr uint64_t kSessionBytes = 60'000;
// A worker's: incoming adapter, what is trained, the update as it is checked
// and as it is kept.
constexpr uint64_t kVectorsAtWork = 4;
// A masked session's: the result, the one that is kept for another attempt, and
// what is sent.
constexpr uint64_t kVectorsMasked = 3;
// A device's own control variate, and the one that waits.
constexpr uint64_t kVariates = 2;
// Of what the heap cannot use again.
constexpr double kLost = 0.1;

constexpr char kTraining[] = "training";
constexpr char kDevices[] = "devices";
constexpr char kSessions[] = "sessions";

absl::StatusOr<uint64_t> TrainingBytes(const FleetMemoryQuestion& question) {
  if (!question.trains) return 0;
  const v1::TaskPlan& plan = question.plan;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string engine,
                            EngineOf(plan, ClientFile::Train().engine));
  if (!MeansFused(engine)) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "nobody can predict the memory of the engine {}", engine)),
        ErrorKind::kConfig, "take train.engine = \"fused\", or no --memory");
  }
  const std::string client = question.data.ClientOfLongest();
  EDGETUNE_ASSIGN_OR_RETURN(const LocalData data,
                            question.data.Read(client, plan));
  EDGETUNE_ASSIGN_OR_RETURN(const MemoryPlan one,
                            FitToMemory({.plan = plan,
                                         .model = question.model,
                                         .data = data,
                                         .data_name = client,
                                         .engine = engine,
                                         .bf16 = question.bf16,
                                         .threads = 1,
                                         .resident = 0},
                                        0));
  // All workers share the base.
  return std::max(one.prediction.peak, question.base) - question.base;
}

bool KeepsUpdates(const v1::TaskPlan& plan) {
  return plan.rounds().aggregator() != "mean" || StepsFromProducts(plan);
}

}  // namespace

absl::StatusOr<FleetMemory> PredictFleetMemory(
    const FleetMemoryQuestion& question) {
  const v1::TaskPlan& plan = question.plan;
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout, AdapterLayout(plan));
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t training, TrainingBytes(question));
  const uint64_t vector = layout.size() * sizeof(float);
  const uint64_t workers = question.workers;
  const uint64_t clients = question.data.partition().size();
  const uint64_t asked = CohortAsked(plan.rounds());
  FleetMemory memory;
  const auto add = [&memory](std::string name, uint64_t bytes) {
    if (bytes == 0) return;
    memory.parts.push_back({std::move(name), bytes});
    memory.fixed += bytes;
  };
  add("program and examples", question.resident);
  add("base model", question.base);
  add(fmt::format("{} of {} workers", kTraining, workers),
      workers * (training + kVectorsAtWork * vector));
  add(fmt::format("{} {}", clients, kDevices),
      clients * (kDeviceBytes + (UsesControls(plan) ? kVariates * vector : 0)));
  const uint64_t masked = plan.secagg().enabled() ? kVectorsMasked * vector : 0;
  add(fmt::format("{} {}", asked, kSessions), asked * (kSessionBytes + masked));
  // Sums of 64 bits, and the adapter before and after the step.
  add("coordinator", 8 * vector + (KeepsUpdates(plan) ? asked * vector : 0));
  add("lost in the heap",
      static_cast<uint64_t>(kLost * static_cast<double>(memory.fixed)));
  memory.least_blobs = (workers + 3) * vector;
  memory.all_blobs = (asked + 3) * vector;
  return memory;
}

absl::StatusOr<uint64_t> BlobsWithin(const FleetMemory& memory,
                                     uint64_t ceiling) {
  const uint64_t least = memory.fixed + memory.least_blobs;
  if (ceiling >= least) return ceiling - memory.fixed;
  std::string text;
  const MemoryPart* largest = &memory.parts.front();
  for (const MemoryPart& part : memory.parts) {
    text += fmt::format("{} {}, ", part.name, FormatBytes(part.bytes));
    if (part.bytes > largest->bytes) largest = &part;
  }
  const auto is = [&](const char* name) {
    return largest->name.find(name) != std::string::npos;
  };
  return Annotate(
      absl::ResourceExhaustedError(fmt::format(
          "this simulation takes at least {}, --memory is {}: {}updates {}",
          FormatBytes(least), FormatBytes(ceiling), text,
          FormatBytes(memory.least_blobs))),
      ErrorKind::kConfig,
      is(kTraining)   ? "fewer --workers"
      : is(kDevices)  ? "fewer simulation.clients"
      : is(kSessions) ? "a smaller rounds.cohort"
                      : "more --memory, or fewer examples");
}

}  // namespace edgetune
