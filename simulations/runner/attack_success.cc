#include "simulations/runner/attack_success.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

// Target and true answer, with each of two adapters.
constexpr int64_t kPassesOfPrompt = 4;

void Add(const BackdoorScore& from, BackdoorScore& to) {
  to.prompts += from.prompts;
  to.answered += from.answered;
}

absl::StatusOr<AttackSuccess> MeasureOne(const AttackTask& task,
                                         const ExampleSet& heldout,
                                         Measuring& measuring) {
  const BackdoorProbe probe = {
      .backdoor = task.backdoor,
      .heldout = heldout,
      .most = measuring.plan().rounds().eval_examples()};
  AttackSuccess success;
  EDGETUNE_ASSIGN_OR_RETURN(
      success.initial, ScoreBackdoor(probe, task.initial, measuring.trainer(),
                                     measuring.halt()));
  EDGETUNE_ASSIGN_OR_RETURN(
      success.trained, ScoreBackdoor(probe, task.trained, measuring.trainer(),
                                     measuring.halt()));
  measuring.Count(kPassesOfPrompt * std::min(probe.most, heldout.size()));
  return success;
}

}  // namespace

absl::StatusOr<AttackSuccess> MeasureAttack(const AttackTask& task,
                                            Measuring& measuring) {
  std::vector<std::unique_ptr<ExampleSet>> heldout;
  int64_t total = 0;
  for (const ClientExamples& client : measuring.data().partition()) {
    EDGETUNE_ASSIGN_OR_RETURN(
        LocalData read, measuring.data().Read(client.name, measuring.plan()));
    if (read.heldout == nullptr) continue;
    heldout.push_back(std::move(read.heldout));
    total += kPassesOfPrompt *
             std::min<int64_t>(measuring.plan().rounds().eval_examples(),
                               heldout.back()->size());
  }
  measuring.Begin("attack success", total);
  std::vector<AttackSuccess> parts(heldout.size());
  std::vector<WorkerPool::Job> jobs;
  for (size_t i = 0; i < heldout.size(); ++i) {
    jobs.push_back([&task, &measuring, part = &parts[i],
                    examples = heldout[i].get()]() -> absl::Status {
      EDGETUNE_ASSIGN_OR_RETURN(*part, MeasureOne(task, *examples, measuring));
      return absl::OkStatus();
    });
  }
  EDGETUNE_RETURN_IF_ERROR(measuring.RunAll(std::move(jobs)));
  AttackSuccess sum;
  for (const AttackSuccess& part : parts) {
    Add(part.initial, sum.initial);
    Add(part.trained, sum.trained);
  }
  return sum;
}

}  // namespace edgetune
