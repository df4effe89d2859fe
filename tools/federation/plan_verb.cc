#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aggregation/combine_rule.h"
#include "aggregation/server_optimizer.h"
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

struct PlanOptions {
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

std::string RankText(const v1::TaskPlan& plan) {
  const uint32_t rank = plan.lora().rank();
  if (rank == 0) return "all parameters";
  const int64_t frozen = FrozenRank(plan);
  if (frozen == 0) return fmt::format("rank {}", rank);
  return fmt::format("rank {} and {} frozen", rank, frozen);
}

std::string PlanText(const PreparedRun& run,
                     const std::vector<uint64_t>& updates) {
  const v1::TaskPlan& plan = run.built.plan;
  const v1::RoundsSpec& rounds = plan.rounds();
  std::string text = fmt::format(
      "accepted: {}\n"
      "  base     {} ({}), sent once to each device\n"
      "  adapter  {}, {} coordinates, {} down and {} up a round (rule {})\n"
      "  rounds   {} of {} clients ({} asked, {} needed), {}\n"
      "  privacy  {}\n",
      plan.name(), plan.model().name(), FormatBytes(BaseBytes(plan.model())),
      RankText(plan), run.built.initial.values.size(),
      FormatBytes(run.built.initial_blob.size()), SizesText(updates),
      plan.lora().rule(), rounds.count(), rounds.cohort(), CohortAsked(rounds),
      rounds.quorum(), WorkText(plan.train()), PrivacyText(plan));
  const bool masked = plan.secagg().enabled();
  for (const std::string& line :
       masked ? MaskingLines(plan) : PlanNotes(plan)) {
    text += fmt::format("           {}\n", line);
  }
  return text;
}

absl::Status Check(const PlanOptions& options, const Output& output) {
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
                               {"frozen_rank", FrozenRank(plan)},
                               {"update_bytes", updates},
                               {"rounds", rounds.count()},
                               {"cohort", rounds.cohort()},
                               {"asked", CohortAsked(rounds)},
                               {"quorum", rounds.quorum()},
                               {"steps", plan.train().steps()},
                               {"epochs", plan.train().epochs()},
                               {"batch", plan.train().batch()},
                               {"masked", plan.secagg().enabled()},
                               {"masking", MaskingJson(plan)},
                               {"aggregator", rounds.aggregator()},
                               {"notes", PlanNotes(plan)}};
  return output.Finish(data, PlanText(run, updates));
}

// --- plan matrix

// One combination of choices, and why CheckPlan refuses it ("": it does not).
struct Verdict {
  std::string aggregator;
  bool masked;
  std::string server_optimizer;
  std::string lora_rule;
  std::string refusal;
};

const char* const kLoraRules[] = {"fedit", "ffa",     "rolora",
                                  "fedsa", "hetlora", "flexlora",
                                  "fedsb", "fedex",   "flora"};

void AddTensor(v1::LoraSpec* lora, const std::string& name, int64_t rows,
               int64_t columns) {
  v1::LayoutTensor* tensor = lora->add_layout();
  tensor->set_name(name);
  tensor->add_shape(rows);
  tensor->add_shape(columns);
}

// The smallest model that a plan can name: one layer, one linear.
void FillSmallModel(v1::TaskPlan* plan) {
  const std::string digest(32, '\1');
  plan->mutable_header()->set_version(1);
  plan->mutable_header()->set_issued_ms(1);
  plan->mutable_header()->set_expires_ms(2);
  plan->set_nonce(digest);
  plan->set_name("matrix");
  v1::ModelSpec* model = plan->mutable_model();
  model->set_name("small");
  model->set_digest(digest);
  model->set_precision("auto");
  v1::FilePart* part = model->add_parts();
  part->set_name("model.gguf");
  part->set_size(1);
  part->set_sha256(digest);
  v1::LoraSpec* lora = plan->mutable_lora();
  lora->set_rank(1);
  lora->set_alpha(1);
  lora->add_targets("q_proj");
  lora->set_initial_digest(digest);
}

// Of the factors that its rule has, all sides alike.
void FillSmallLayout(v1::TaskPlan* plan) {
  const std::string module = "layers.0.self_attn.q_proj.";
  const int64_t side = KeepsFrozenSlices(*plan) ? 2 : 1;
  v1::LoraSpec* lora = plan->mutable_lora();
  AddTensor(lora, module + "lora_A", side, side);
  AddTensor(lora, module + "lora_B", side, side);
  if (TrainsCores(*plan)) AddTensor(lora, module + "lora_R", side, side);
}

// The defaults with these choices and seven clients: 4f + 3 for one liar, the
// most that any rule needs.
std::string RefusalOf(const Verdict& choice) {
  RunFile run;
  run.rounds.cohort = 7;
  run.rounds.aggregator = choice.aggregator;
  run.rounds.server_optimizer = choice.server_optimizer;
  run.secagg.enabled = choice.masked;
  v1::TaskPlan plan;
  FillSmallModel(&plan);
  plan.mutable_lora()->set_rule(choice.lora_rule);
  FillSmallLayout(&plan);
  FillFromRunFile(run, &plan);
  return std::string(CheckPlan(plan).message());
}

std::vector<Verdict> AllVerdicts() {
  std::vector<Verdict> verdicts;
  for (const std::string_view aggregator : CombineRuleNames()) {
    for (const bool masked : {false, true}) {
      for (const char* rule : kLoraRules) {
        for (const std::string_view optimizer : ServerOptimizerNames()) {
          Verdict verdict = {std::string(aggregator), masked,
                             std::string(optimizer), rule, ""};
          verdict.refusal = RefusalOf(verdict);
          verdicts.push_back(std::move(verdict));
        }
      }
    }
  }
  return verdicts;
}

// What is said of one aggregator, masked or not, and one LoRA rule with every
// server optimiser: "yes", or the numbers of the refusals, which `reasons`
// keeps, and the optimisers without one.
std::string CellText(std::span<const Verdict> verdicts,
                     std::vector<std::string>& reasons) {
  std::string accepted;
  std::vector<size_t> numbers;
  for (const Verdict& verdict : verdicts) {
    if (verdict.refusal.empty()) {
      accepted += (accepted.empty() ? "" : " ") + verdict.server_optimizer;
      continue;
    }
    auto at = std::find(reasons.begin(), reasons.end(), verdict.refusal);
    if (at == reasons.end()) at = reasons.insert(at, verdict.refusal);
    const size_t number = at - reasons.begin() + 1;
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
      numbers.push_back(number);
    }
  }
  if (numbers.empty()) return "yes";
  return fmt::format("{}{}no ({})", accepted, accepted.empty() ? "" : ", else ",
                     fmt::join(numbers, ", "));
}

std::string MatrixText(const std::vector<Verdict>& verdicts) {
  std::vector<std::vector<std::string>> table = {{"aggregator", "updates"}};
  for (const char* rule : kLoraRules) table[0].push_back(rule);
  std::vector<std::string> reasons;
  const size_t optimizers = ServerOptimizerNames().size();
  for (size_t at = 0; at < verdicts.size(); at += optimizers) {
    const Verdict& first = verdicts[at];
    if (first.lora_rule == kLoraRules[0]) {
      table.push_back({first.aggregator, first.masked ? "masked" : "clear"});
    }
    table.back().push_back(
        CellText(std::span(verdicts).subspan(at, optimizers), reasons));
  }
  std::string text = FormatTable(table);
  text += fmt::format("\nyes: accepted, with the server optimisers {}\n",
                      fmt::join(ServerOptimizerNames(), ", "));
  for (size_t i = 0; i < reasons.size(); ++i) {
    text += fmt::format("({}) {}\n", i + 1, reasons[i]);
  }
  return text;
}

absl::Status Matrix(const Output& output) {
  const std::vector<Verdict> verdicts = AllVerdicts();
  nlohmann::json combinations = nlohmann::json::array();
  for (const Verdict& verdict : verdicts) {
    combinations.push_back({{"aggregator", verdict.aggregator},
                            {"masked", verdict.masked},
                            {"server_optimizer", verdict.server_optimizer},
                            {"lora_rule", verdict.lora_rule},
                            {"accepted", verdict.refusal.empty()},
                            {"reason", verdict.refusal}});
  }
  return output.Finish({{"combinations", combinations}}, MatrixText(verdicts));
}

}  // namespace

void AddPlanVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "plan", "What a run file means");
  const Output& output = invocation.output;
  auto options = std::make_shared<PlanOptions>();
  CLI::App* verb =
      AddVerb(*group, invocation, "check",
              "Build the plan of a run file and say whether it is accepted",
              [options, &output] { return Check(*options, output); });
  verb->add_option("run_file", options->run_file, "Run file (TOML)")
      ->required();
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  AddVerb(*group, invocation, "matrix",
          "Which rules of combining, server optimisers and LoRA rules go "
          "together, masked and not",
          [&output] { return Matrix(output); });
}

}  // namespace edgetune
