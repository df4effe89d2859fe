#include "tests/testing/plans.h"

#include <string>

namespace edgetune {
namespace {

constexpr int64_t kIssuedMs = 1'700'000'000'000;
constexpr int64_t kYearMs = int64_t{365} * 24 * 3600 * 1000;

std::string Bytes32(char c) { return std::string(32, c); }

void FillHeader(v1::DocumentHeader* header) {
  header->set_version(1);
  header->set_issued_ms(kIssuedMs);
  // A century, so that tests on the real clock do not meet the end.
  header->set_expires_ms(kIssuedMs + 100 * kYearMs);
}

void AddTensor(v1::LoraSpec* lora, const std::string& name, int64_t rows,
               int64_t columns) {
  v1::LayoutTensor* tensor = lora->add_layout();
  tensor->set_name(name);
  tensor->add_shape(rows);
  tensor->add_shape(columns);
}

void FillModel(v1::ModelSpec* model) {
  model->set_name("tiny");
  model->set_digest(Bytes32('d'));
  model->set_precision("fp32");
  v1::FilePart* part = model->add_parts();
  part->set_name("model.gguf");
  part->set_size(1000);
  part->set_sha256(Bytes32('m'));
}

void FillLora(v1::LoraSpec* lora) {
  lora->set_rank(2);
  lora->set_alpha(4);
  lora->add_targets("q_proj");
  lora->add_targets("v_proj");
  lora->set_rule("fedit");
  lora->set_initial_digest(Bytes32('a'));
  for (int layer = 0; layer < 2; ++layer) {
    const std::string at = "layers." + std::to_string(layer) + ".self_attn.";
    AddTensor(lora, at + "q_proj.lora_A", 2, 4);
    AddTensor(lora, at + "q_proj.lora_B", 4, 2);
    AddTensor(lora, at + "v_proj.lora_A", 2, 4);
    AddTensor(lora, at + "v_proj.lora_B", 2, 2);
  }
}

void FillTrain(v1::TrainSpec* train) {
  train->set_engine("auto");
  train->set_lr(1e-3);
  train->set_steps(6);
  train->set_batch(8);
  train->set_micro_batch(4);
  train->set_schedule("constant");
  train->set_grad_clip(1);
  train->set_seed(1);
}

void FillRounds(v1::RoundsSpec* rounds) {
  rounds->set_count(3);
  rounds->set_cohort(4);
  rounds->set_over_select(1);
  rounds->set_quorum(3);
  rounds->set_deadline_ms(600'000);
  rounds->set_reconnect_grace_ms(30'000);
  rounds->set_attempts(3);
  rounds->set_aggregator("mean");
  rounds->set_weights("examples");
  rounds->set_weight_cap(16384);
  rounds->set_clear_bound(64);
  rounds->set_eval_examples(32);
  rounds->set_server_optimizer("sgd");
  rounds->set_server_lr(1);
  rounds->set_server_beta1(0.9);
  rounds->set_server_beta2(0.99);
  rounds->set_server_epsilon(1e-3);
}

}  // namespace

v1::TaskPlan ValidPlan() {
  v1::TaskPlan plan;
  FillHeader(plan.mutable_header());
  plan.set_nonce(Bytes32('n'));
  plan.set_name("test run");
  FillModel(plan.mutable_model());
  FillLora(plan.mutable_lora());
  plan.mutable_data()->set_schema("auto");
  plan.mutable_data()->set_max_length(512);
  plan.mutable_data()->set_holdout(0.1);
  FillTrain(plan.mutable_train());
  plan.mutable_fleet()->set_population("default");
  FillRounds(plan.mutable_rounds());
  plan.mutable_secagg()->set_enabled(false);
  plan.mutable_privacy()->set_mode("off");
  return plan;
}

v1::TaskPlan MaskedPlan() {
  v1::TaskPlan plan = ValidPlan();
  v1::SecAggSpec& secagg = *plan.mutable_secagg();
  secagg.set_enabled(true);
  secagg.set_n_min(4);
  secagg.set_bits(32);
  secagg.set_bound(0.25);
  secagg.set_group(300);
  secagg.set_max_contributions(1);
  return plan;
}

void UseScaffold(v1::TaskPlan& plan, uint32_t devices) {
  v1::TrainSpec& train = *plan.mutable_train();
  train.set_objective("scaffold");
  train.set_optimizer("sgd");
  train.set_schedule("constant");
  train.set_warmup(0);
  train.set_grad_clip(0);
  plan.mutable_rounds()->set_weights("equal");
  plan.mutable_fleet()->set_devices(devices);
}

v1::RoundManifest ValidManifest() {
  v1::RoundManifest manifest;
  FillHeader(manifest.mutable_header());
  manifest.set_kind(v1::RoundManifest::TRAIN);
  manifest.set_plan_digest(Bytes32('p'));
  manifest.set_round(1);
  manifest.set_adapter_digest(Bytes32('b'));
  manifest.set_coordinates(56);
  manifest.set_prev_card_digest(Bytes32('c'));
  manifest.set_deadline_ms(kIssuedMs + 600'000);
  return manifest;
}

v1::ModelCard ValidCard() {
  v1::ModelCard card;
  FillHeader(card.mutable_header());
  card.set_plan_digest(Bytes32('p'));
  card.set_version(1);
  card.set_adapter_digest(Bytes32('b'));
  card.set_prev_card_digest(Bytes32('c'));
  card.set_updates(4);
  card.set_weight_sum(120);
  return card;
}

}  // namespace edgetune
