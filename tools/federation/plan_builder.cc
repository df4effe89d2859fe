#include "tools/federation/plan_builder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/time/clock.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "models/io/adapter/core_adapter.h"
#include "privacy/crypto/hash.h"
#include "privacy/crypto/secure_random.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tools/model/base_files.h"
#include "tools/model/model_path.h"

namespace edgetune {
namespace {

constexpr size_t kLongestName = 100;
constexpr int64_t kFrozenTimes = 4;

absl::StatusOr<v1::ModelSpec> MakeModelSpec(const PlanRequest& request) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<v1::FilePart> parts,
                            BasePartsOf(request.model_path));
  v1::ModelSpec spec;
  spec.set_name(ModelDisplayName(request.run.model.base));
  spec.set_precision(request.run.model.precision);
  spec.mutable_parts()->Assign(parts.begin(), parts.end());
  spec.set_digest(BaseDigest(parts));
  return spec;
}

// Of rule "full" rank and alpha stay 0, whatever the run file says, and parts
// are the targets.
AdapterSpec SpecOf(const RunFile::Lora& lora) {
  AdapterSpec spec;
  if (lora.rule == "full") {
    spec.targets = lora.parts;
    return spec;
  }
  spec.rank = lora.rank;
  spec.alpha = lora.alpha;
  // A plan names targets in one order, a run file in any.
  spec.targets = lora.targets;
  const auto order = LoraTargets();
  std::stable_sort(spec.targets.begin(), spec.targets.end(),
                   [&](const std::string& a, const std::string& b) {
                     return std::find(order.begin(), order.end(), a) <
                            std::find(order.begin(), order.end(), b);
                   });
  return spec;
}

// Slices beyond lora.rank, where the rule has some: without a number in the run
// file four times as many as are trained, or what the narrowest target leaves.
int64_t FrozenSlicesOf(const RunFile::Lora& lora,
                       const ParameterLayout& trained) {
  if (lora.rule != "fedex" && lora.rule != "flora") return 0;
  if (lora.frozen_rank != 0) return lora.frozen_rank;
  int64_t most = kFrozenTimes * lora.rank;
  for (const ParameterLayout::Tensor& tensor : trained.tensors()) {
    const int64_t side = tensor.shape[tensor.name.ends_with("lora_A") ? 1 : 0];
    most = std::min(most, side - lora.rank);
  }
  return most;
}

// All slices' layout; those that are frozen begin as zeros.
absl::Status AddFrozenSlices(const PlanRequest& request, Adapter& adapter) {
  const RunFile::Lora& lora = request.run.lora;
  const int64_t frozen = FrozenSlicesOf(lora, adapter.layout);
  if (frozen == 0) return absl::OkStatus();
  adapter.spec = WithMoreRank(std::move(adapter.spec), frozen);
  auto layout = AdapterLayoutOf(request.model->config(), adapter.spec);
  if (!layout.ok()) {
    return Annotate(Prefix(layout.status(), "[lora] rank + frozen_rank"),
                    ErrorKind::kConfig, "take a lower lora.frozen_rank");
  }
  adapter.layout = *std::move(layout);
  adapter.values = PadSlices(adapter.values, adapter.layout, lora.rank);
  return absl::OkStatus();
}

absl::StatusOr<Adapter> MakeInitialAdapter(const PlanRequest& request) {
  Adapter adapter;
  adapter.spec = SpecOf(request.run.lora);
  absl::StatusOr<ParameterLayout> layout =
      AdapterLayoutOf(request.model->config(), adapter.spec);
  if (!layout.ok()) {
    return Annotate(Prefix(layout.status(), "[lora]"), ErrorKind::kConfig,
                    request.model->config().image.has_value()
                        ? "take lora.rule = \"full\""
                        : "");
  }
  if (request.run.lora.rule == "fedsb") {
    adapter.layout = WithCores(*layout);
    adapter.values = InitialCoreAdapter(adapter.layout, request.run.train.seed);
    return adapter;
  }
  adapter.layout = *std::move(layout);
  adapter.values = InitialAdapter(adapter.layout, request.run.train.seed);
  EDGETUNE_RETURN_IF_ERROR(AddFrozenSlices(request, adapter));
  return adapter;
}

v1::LoraSpec MakeLoraSpec(const PlanRequest& request, const BuiltPlan& built) {
  v1::LoraSpec spec;
  // Of what is trained; what is frozen besides shows in the layout.
  const AdapterSpec trained = SpecOf(request.run.lora);
  spec.set_rank(trained.rank);
  spec.set_alpha(trained.alpha);
  for (const std::string& t : trained.targets) spec.add_targets(t);
  spec.set_rule(request.run.lora.rule);
  for (const ParameterLayout::Tensor& tensor : built.initial.layout.tensors()) {
    v1::LayoutTensor* out = spec.add_layout();
    out->set_name(tensor.name);
    for (const int64_t d : tensor.shape) out->add_shape(d);
  }
  spec.set_initial_digest(Sha256Bytes(built.initial_blob));
  return spec;
}

// After FillRounds: defaults follow from the clients asked.
void FillSecAgg(const RunFile& run, v1::TaskPlan* plan) {
  v1::SecAggSpec* spec = plan->mutable_secagg();
  spec->set_enabled(run.secagg.enabled);
  v1::RoundsSpec* rounds = plan->mutable_rounds();
  const uint32_t threshold = SecAggThreshold(CohortAsked(*rounds));
  uint32_t quorum = run.rounds.cohort;
  if (run.secagg.enabled) quorum = std::max(quorum, threshold);
  if (run.rounds.quorum != 0) quorum = run.rounds.quorum;
  rounds->set_quorum(quorum);
  if (!run.secagg.enabled) return;
  // Losses before the keys are exchanged shrink the cohort; as many as may
  // vanish later may vanish then.
  const uint32_t n_min =
      run.secagg.n_min != 0
          ? run.secagg.n_min
          : std::clamp<uint32_t>(threshold, kSecAggSmallestCohort, 10);
  spec->set_n_min(n_min);
  spec->set_bits(run.secagg.bits);
  spec->set_bound(run.secagg.bound);
  spec->set_group(run.secagg.group);
  spec->set_max_contributions(run.secagg.max_contributions);
}

void FillTrain(const RunFile::Train& run, v1::TrainSpec* spec) {
  spec->set_engine(run.engine);
  spec->set_lr(run.lr);
  spec->set_steps(run.steps);
  spec->set_batch(run.batch);
  spec->set_micro_batch(run.micro_batch);
  spec->set_schedule(run.schedule);
  spec->set_warmup(run.warmup);
  spec->set_grad_clip(run.grad_clip);
  spec->set_weight_decay(run.weight_decay);
  spec->set_seed(run.seed);
  spec->set_memory_budget(run.memory_budget);
  spec->set_epochs(run.epochs);
  // Left out where they are the default: devices and coordinators that do not
  // know the fields take such a plan.
  if (run.optimizer != "adamw") spec->set_optimizer(run.optimizer);
  spec->set_momentum(run.momentum);
  if (run.objective != "plain") spec->set_objective(run.objective);
  spec->set_prox_mu(run.prox_mu);
  if (run.teacher_alpha > 0) {
    spec->set_teacher_alpha(run.teacher_alpha);
    spec->set_teacher_temperature(run.teacher_temperature);
    spec->set_teacher_top_k(run.teacher_top_k);
  }
}

// A field that another rule would use stays 0, whatever the run file says.
void FillAggregator(const RunFile::Rounds& run, v1::RoundsSpec* spec) {
  const std::string& rule = run.aggregator;
  spec->set_aggregator(rule);
  if (rule == "trimmed_mean") spec->set_trim(run.trim);
  if (rule == "krum" || rule == "multi_krum" || rule == "bulyan") {
    spec->set_byzantine(run.byzantine);
  }
  if (rule == "multi_krum") spec->set_kept(run.kept);
  if (rule == "norm_bound") spec->set_norm_bound(run.norm_bound);
}

void FillRounds(const RunFile::Rounds& run, v1::RoundsSpec* spec) {
  spec->set_count(run.count);
  spec->set_cohort(run.cohort);
  spec->set_over_select(run.over_select);
  spec->set_deadline_ms(absl::ToInt64Milliseconds(run.deadline));
  spec->set_select_timeout_ms(absl::ToInt64Milliseconds(run.select_timeout));
  spec->set_reconnect_grace_ms(absl::ToInt64Milliseconds(run.reconnect_grace));
  spec->set_attempts(run.attempts);
  FillAggregator(run, spec);
  spec->set_weights(run.weights);
  spec->set_weight_cap(run.weight_cap);
  spec->set_clear_bound(run.clear_bound);
  spec->set_eval_examples(run.eval_examples);
  spec->set_server_optimizer(run.server_optimizer);
  spec->set_server_lr(run.server_lr);
  spec->set_server_beta1(run.server_beta1);
  spec->set_server_beta2(run.server_beta2);
  spec->set_server_epsilon(run.server_epsilon);
  if (run.normalise != "none") spec->set_normalise(run.normalise);
  spec->set_fairness_q(run.fairness_q);
}

absl::StatusOr<std::string> MakeNonce(const std::string& token) {
  if (!token.empty()) return Sha256Bytes(token);
  return SecureRandom(32);
}

// Cuts to whole UTF-8 characters.
std::string CutName(std::string name) {
  if (name.size() <= kLongestName) return name;
  size_t end = kLongestName;
  while (end > 0 && (name[end] & 0xc0) == 0x80) --end;
  return name.substr(0, end);
}

}  // namespace

void FillFromRunFile(const RunFile& run, v1::TaskPlan* plan) {
  plan->mutable_data()->set_schema(run.data.schema);
  plan->mutable_data()->set_max_length(run.data.max_length);
  plan->mutable_data()->set_holdout(run.data.holdout);
  FillTrain(run.train, plan->mutable_train());
  plan->mutable_fleet()->set_population(run.fleet.population);
  if (run.train.objective == "scaffold") {
    plan->mutable_fleet()->set_devices(run.fleet.devices);
  }
  FillRounds(run.rounds, plan->mutable_rounds());
  FillSecAgg(run, plan);
  plan->mutable_privacy()->set_mode(run.privacy.mode);
}

absl::StatusOr<BuiltPlan> BuildPlan(const PlanRequest& request) {
  BuiltPlan built;
  EDGETUNE_ASSIGN_OR_RETURN(built.initial, MakeInitialAdapter(request));
  built.initial_blob = SerializeParameters(built.initial.values);
  v1::TaskPlan& plan = built.plan;
  plan.mutable_header()->set_version(1);
  plan.mutable_header()->set_issued_ms(absl::ToUnixMillis(request.now));
  plan.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(request.now + kPlanLife));
  EDGETUNE_ASSIGN_OR_RETURN(*plan.mutable_nonce(), MakeNonce(request.token));
  plan.set_name(CutName(request.name));
  EDGETUNE_ASSIGN_OR_RETURN(*plan.mutable_model(), MakeModelSpec(request));
  *plan.mutable_lora() = MakeLoraSpec(request, built);
  FillFromRunFile(request.run, &plan);
  // No model reads beyond its context, whatever the default is.
  plan.mutable_data()->set_max_length(
      std::min(request.run.data.max_length, request.model->config().context));
  const absl::Status verdict = CheckPlan(plan);
  if (!verdict.ok()) {
    return Annotate(verdict, ErrorKind::kConfig, "change it in the run file");
  }
  built.payload = plan.SerializeAsString();
  built.run_id = Sha256Bytes(built.payload);
  return built;
}

absl::StatusOr<PreparedRun> PrepareRun(const std::string& run_file,
                                       const std::vector<std::string>& sets,
                                       const std::string& token,
                                       absl::Time now) {
  PreparedRun prepared;
  EDGETUNE_ASSIGN_OR_RETURN(
      prepared.run,
      ReadRunFile(run_file, sets, EdgetuneEnvironment(), &prepared.settings));
  const std::string& base = prepared.run.model.base;
  EDGETUNE_ASSIGN_OR_RETURN(prepared.model_path, ResolveModel(base));
  EDGETUNE_ASSIGN_OR_RETURN(prepared.model, OpenBase(base));
  PlanRequest request;
  request.run = prepared.run;
  request.name = run_file.empty()
                     ? "defaults"
                     : std::filesystem::path(run_file).stem().string();
  request.model_path = prepared.model_path;
  request.model = prepared.model.get();
  request.now = now;
  request.token = token;
  EDGETUNE_ASSIGN_OR_RETURN(prepared.built, BuildPlan(request));
  return prepared;
}

}  // namespace edgetune
