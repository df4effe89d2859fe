#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "tools/plan_builder.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  std::string run_file;
  std::vector<std::string> sets;
};

// Sizes of an update, in the order of the rounds in which they first come.
absl::StatusOr<std::vector<uint64_t>> UpdateSizes(const v1::TaskPlan& plan) {
  std::vector<uint64_t> sizes;
  for (uint32_t round = 0; round < std::min(plan.rounds().count(), 2u);
       ++round) {
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              UpdateLayout(plan, round));
    const uint64_t bytes = layout.size() * sizeof(float);
    if (sizes.empty() || sizes.back() != bytes) sizes.push_back(bytes);
  }
  return sizes;
}

std::string SizesText(const std::vector<uint64_t>& sizes) {
  std::string text;
  for (const uint64_t bytes : sizes) {
    text += (text.empty() ? "" : " or ") + FormatBytes(bytes);
  }
  return text;
}

absl::Status Check(const Options& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(PreparedRun run,
                            PrepareRun(options.run_file, options.sets, ""));
  const v1::TaskPlan& plan = run.built.plan;
  const v1::RoundsSpec& rounds = plan.rounds();
  const size_t coordinates = run.built.initial.values.size();
  const uint64_t bytes = run.built.initial_blob.size();
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<uint64_t> updates,
                            UpdateSizes(plan));
  const nlohmann::json data = {
      {"accepted", true},
      {"name", plan.name()},
      {"base_sha256", ToHex(plan.model().parts(0).sha256())},
      {"base_bytes", plan.model().parts(0).size()},
      {"coordinates", coordinates},
      {"adapter_bytes", bytes},
      {"rule", plan.lora().rule()},
      {"update_bytes", updates},
      {"rounds", rounds.count()},
      {"cohort", rounds.cohort()},
      {"asked", CohortAsked(rounds)},
      {"quorum", rounds.quorum()},
      {"steps", plan.train().steps()},
      {"batch", plan.train().batch()},
      {"masked", plan.secagg().enabled()}};
  return output.Finish(
      data,
      fmt::format("accepted: {}\n"
                  "  base     {} ({}), sent once to each device\n"
                  "  adapter  rank {}, {} coordinates, {} down and {} up a "
                  "round (rule {})\n"
                  "  rounds   {} of {} clients ({} asked, {} needed), {} steps "
                  "of {} examples each\n"
                  "  privacy  masking is not in this version: the coordinator "
                  "sees each update\n",
                  plan.name(), plan.model().name(),
                  FormatBytes(plan.model().parts(0).size()), plan.lora().rank(),
                  coordinates, FormatBytes(bytes), SizesText(updates),
                  plan.lora().rule(), rounds.count(), rounds.cohort(),
                  CohortAsked(rounds), rounds.quorum(), plan.train().steps(),
                  plan.train().batch()));
}

}  // namespace

void AddPlanVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "plan", "What a run file means");
  const Output& output = invocation.output;
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(*group, invocation, "check",
              "Build the plan of a run file and say whether it is accepted",
              [options, &output] { return Check(*options, output); });
  verb->add_option("run_file", options->run_file, "Run file (TOML)")
      ->required();
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
}

}  // namespace edgetune
