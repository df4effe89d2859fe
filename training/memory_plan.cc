#include "training/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

// Examples a pass worth trying, most first: what fills a step with fewer
// passes is the quicker.
std::vector<int64_t> MicroBatches(const MemoryWork& work, int64_t most) {
  const auto batch = static_cast<int64_t>(work.steps.front().size());
  std::vector<int64_t> sizes = {std::min(most, batch)};
  while (sizes.back() > 1) {
    const int64_t size = sizes.back();
    const int64_t passes = (batch + size - 1) / size + 1;
    sizes.push_back(std::min(size - 1, (batch + passes - 1) / passes));
  }
  return sizes;
}

// Everything but cutting examples, the fastest first; what takes least comes
// last, whatever its speed.
std::vector<MemoryChoice> WholeChoices(const MemoryWork& work, int64_t most) {
  std::vector<std::pair<double, MemoryChoice>> timed;
  for (const bool recompute : {false, true}) {
    for (const int64_t size : MicroBatches(work, most)) {
      const MemoryChoice choice = {.recompute = recompute, .micro_batch = size};
      timed.emplace_back(RelativeTime(work, choice), choice);
    }
  }
  std::stable_sort(
      timed.begin(), timed.end() - 1,
      [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<MemoryChoice> choices;
  for (const auto& [time, choice] : timed) choices.push_back(choice);
  return choices;
}

int64_t LongestExample(const MemoryWork& work) {
  int64_t longest = 0;
  for (const auto& step : work.steps) {
    for (const ExampleSize& example : step) {
      longest = std::max(longest, example.tokens);
    }
  }
  for (const ExampleSize& example : work.held_out) {
    longest = std::max(longest, example.tokens);
  }
  return longest;
}

// Up to a whole MB, as people write it.
uint64_t WholeMegabytes(uint64_t bytes) {
  return (bytes + 999'999) / 1'000'000;
}

// `whole` is the smallest that cuts no example, `least` the smallest of all.
absl::Status Refusal(const MemoryWork& work, uint64_t budget,
                     const MemoryPlan& whole, const MemoryPlan& least) {
  const auto& parts = least.prediction.parts;
  const auto largest = std::max_element(
      parts.begin(), parts.end(), [](const MemoryPart& a, const MemoryPart& b) {
        return a.bytes < b.bytes;
      });
  std::string hint = fmt::format(
      "a memory budget of {}MB works{}", WholeMegabytes(least.prediction.peak),
      least.choice.max_length == 0
          ? std::string()
          : fmt::format(" with examples cut to {} tokens, {}MB with whole ones",
                        least.choice.max_length,
                        WholeMegabytes(whole.prediction.peak)));
  hint += "; or take a lower lora.rank, fewer lora.targets";
  if (work.threads > 1) hint += ", fewer threads";
  hint += ", or a smaller or more strongly quantised model";
  return Annotate(
      absl::ResourceExhaustedError(fmt::format(
          "training needs at least {} of memory, of which {} for {}; the "
          "memory budget is {}",
          FormatBytes(least.prediction.peak), FormatBytes(largest->bytes),
          largest->name, FormatBytes(budget))),
      ErrorKind::kFailed, hint);
}

}  // namespace

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryWork& work,
                                      int64_t micro_batch, uint64_t budget) {
  const auto plan_of = [&](const MemoryChoice& choice) {
    return MemoryPlan{choice, PredictMemory(work, choice)};
  };
  const auto fits = [&](const MemoryPlan& plan) {
    return budget == 0 || plan.prediction.peak <= budget;
  };
  MemoryPlan whole;
  for (const MemoryChoice& choice : WholeChoices(work, micro_batch)) {
    whole = plan_of(choice);
    if (fits(whole)) return whole;
  }
  const auto cut_to = [&](int64_t length) {
    MemoryChoice choice = whole.choice;
    choice.max_length = length;
    return plan_of(choice);
  };
  // The longest that fits, in steps of kShortestCut.
  int64_t fitting = 0, beyond = (LongestExample(work) - 1) / kShortestCut + 1;
  while (beyond - fitting > 1) {
    const int64_t middle = (fitting + beyond) / 2;
    (fits(cut_to(middle * kShortestCut)) ? fitting : beyond) = middle;
  }
  if (fitting > 0) return cut_to(fitting * kShortestCut);
  const bool can_cut = LongestExample(work) > kShortestCut;
  return Refusal(work, budget, whole, can_cut ? cut_to(kShortestCut) : whole);
}

std::string MemoryPlanText(const MemoryPlan& plan) {
  const MemoryChoice& choice = plan.choice;
  std::string text = fmt::format("{} example{} a pass", choice.micro_batch,
                                 choice.micro_batch == 1 ? "" : "s");
  if (choice.recompute) text += ", activations computed again";
  if (choice.max_length > 0) {
    text += fmt::format(", examples cut to {} tokens", choice.max_length);
  }
  return text +
         fmt::format("; {} predicted", FormatBytes(plan.prediction.peak));
}

}  // namespace edgetune
