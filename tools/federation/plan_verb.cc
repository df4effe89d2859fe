#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tools/federation/masking_text.h"
#include "tools/federation/plan_builder.h"
#include "tools/model/base_files.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  std::string run_file;
  std::vector<std::string> sets;
};

absl::StatusOr<uint64_t> UpdateBytes(const v1::TaskPlan& plan, uint32_t round) {
  if (plan.secagg().enabled()) {
    EDGETUNE_ASSIGN_OR_RETURN(
        const MaskedShape shape,
        MaskedShapeOf(plan, round, v1::RoundManifest::TRAIN));
    return shape.byte_size();
  }
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            UpdateLayout(plan, round));
  return layout.size() * sizeof(float);
}

// Sizes of an update, in the order of the rounds in which they first come.
absl::StatusOr<std::vector<uint64_t>> UpdateSizes(const v1::TaskPlan& plan) {
  std::vector<uint64_t> sizes;
  for (uint32_t round = 0; round < std::min(plan.rounds().count(), 2u);
       ++round) {
    EDGETUNE_ASSIGN_OR_RETURN(const uint64_t bytes, UpdateBytes(plan, round));
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

// What a device does in a round.
std::string WorkText(const v1::TrainSpec& train) {
  if (train.epochs() == 0) {
    return fmt::format("{} steps of {} examples each", train.steps(),
                       train.batch());
  }
  return fmt::format("{} epochs in steps of {} examples", train.epochs(),
                     train.batch());
}

std::string PlanText(const PreparedRun& run,
                     const std::vector<uint64_t>& updates) {
  const v1::TaskPlan& plan = run.built.plan;
  const v1::RoundsSpec& rounds = plan.rounds();
  std::string text = fmt::format(
      "accepted: {}\n"
      "  base     {} ({}), sent once to each device\n"
      "  adapter  rank {}, {} coordinates, {} down and {} up a round (rule "
      "{})\n"
      "  rounds   {} of {} clients ({} asked, {} needed), {}\n"
      "  privacy  {}\n",
      plan.name(), plan.model().name(), FormatBytes(BaseBytes(plan.model())),
      plan.lora().rank(), run.built.initial.values.size(),
      FormatBytes(run.built.initial_blob.size()), SizesText(updates),
      plan.lora().rule(), rounds.count(), rounds.cohort(), CohortAsked(rounds),
      rounds.quorum(), WorkText(plan.train()), PrivacyText(plan));
  for (const std::string& line : MaskingLines(plan)) {
    text += fmt::format("           {}\n", line);
  }
  return text;
}

absl::Status Check(const Options& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(PreparedRun run,
                            PrepareRun(options.run_file, options.sets, ""));
  const v1::TaskPlan& plan = run.built.plan;
  const v1::RoundsSpec& rounds = plan.rounds();
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<uint64_t> updates,
                            UpdateSizes(plan));
  const nlohmann::json data = {{"accepted", true},
                               {"name", plan.name()},
                               {"base_sha256", BaseSha256(plan.model())},
                               {"base_bytes", BaseBytes(plan.model())},
                               {"coordinates", run.built.initial.values.size()},
                               {"adapter_bytes", run.built.initial_blob.size()},
                               {"rule", plan.lora().rule()},
                               {"update_bytes", updates},
                               {"rounds", rounds.count()},
                               {"cohort", rounds.cohort()},
                               {"asked", CohortAsked(rounds)},
                               {"quorum", rounds.quorum()},
                               {"steps", plan.train().steps()},
                               {"epochs", plan.train().epochs()},
                               {"batch", plan.train().batch()},
                               {"masked", plan.secagg().enabled()},
                               {"masking", MaskingJson(plan)}};
  return output.Finish(data, PlanText(run, updates));
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
