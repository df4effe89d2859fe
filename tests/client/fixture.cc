#include "tests/client/fixture.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/parameters.h"
#include "base/random.h"
#include "base/rank_slices.h"
#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/adapter/core_adapter.h"
#include "privacy/crypto/hash.h"
#include "privacy/crypto/secret.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "tests/testing/tiny_model.h"
#include "training/distillation/targets.h"

namespace edgetune::testing {
namespace {

template <typename T>
T Get(absl::StatusOr<T> value) {
  EDGETUNE_CHECK(value.ok());
  return *std::move(value);
}

void FillHeader(v1::DocumentHeader* header) {
  const absl::Time now = absl::Now();
  header->set_version(1);
  header->set_issued_ms(absl::ToUnixMillis(now - absl::Minutes(1)));
  header->set_expires_ms(absl::ToUnixMillis(now + absl::Hours(1)));
}

void FillModel(const std::string& path, v1::ModelSpec* model) {
  const std::string bytes = Get(ReadFile(path));
  model->set_name("tiny");
  model->set_precision("fp32");
  v1::FilePart* part = model->add_parts();
  part->set_name("model.gguf");
  part->set_size(bytes.size());
  part->set_sha256(Sha256Bytes(bytes));
  model->set_digest(Sha256Bytes(CanonicalBaseEncoding({*part})));
}

// The initial adapter's blob.
std::string FillLora(const ModelConfig& model, v1::LoraSpec* lora) {
  lora->set_rank(2);
  lora->set_alpha(4);
  lora->add_targets("q_proj");
  lora->add_targets("v_proj");
  lora->set_rule("fedit");
  const ParameterLayout layout = Get(AdapterLayoutOf(
      model, {.rank = 2, .alpha = 4, .targets = {"q_proj", "v_proj"}}));
  for (const auto& tensor : layout.tensors()) {
    v1::LayoutTensor* out = lora->add_layout();
    out->set_name(tensor.name);
    for (int64_t side : tensor.shape) out->add_shape(side);
  }
  std::string blob = SerializeParameters(InitialAdapter(layout, 1));
  lora->set_initial_digest(Sha256Bytes(blob));
  return blob;
}

void FillTrain(v1::TrainSpec* train) {
  train->set_engine("auto");
  train->set_lr(1e-2);
  train->set_steps(3);
  train->set_batch(2);
  train->set_micro_batch(2);
  train->set_schedule("constant");
  train->set_grad_clip(1);
  train->set_seed(7);
}

void FillRounds(uint32_t cohort, v1::RoundsSpec* rounds) {
  rounds->set_count(3);
  rounds->set_cohort(cohort);
  rounds->set_over_select(1);
  rounds->set_quorum(cohort);
  rounds->set_deadline_ms(120'000);
  rounds->set_select_timeout_ms(60'000);
  rounds->set_reconnect_grace_ms(30'000);
  rounds->set_attempts(3);
  rounds->set_aggregator("mean");
  rounds->set_weights("examples");
  rounds->set_weight_cap(1024);
  rounds->set_clear_bound(64);
  rounds->set_eval_examples(4);
  rounds->set_server_optimizer("sgd");
  rounds->set_server_lr(1);
}

class FakeTrainer final : public Trainer {
 public:
  FakeTrainer(FakeEngine* engine, std::shared_ptr<const ModelFile> model)
      : engine_(engine), model_(std::move(model)) {}

  const ModelConfig& model() const override { return model_->config(); }
  std::string precision() const override { return "fp32"; }

  absl::StatusOr<Evaluation> Evaluate(const Adapter& adapter,
                                      const ExampleSource& examples,
                                      int64_t max_examples,
                                      const StopToken& stop) override {
    if (engine_->on_evaluate) engine_->on_evaluate();
    if (stop) return absl::CancelledError("the evaluation was stopped");
    Evaluation evaluation;
    const int64_t count = std::min(max_examples, examples.size());
    for (int64_t i = 0; i < count; ++i) {
      for (uint8_t label : examples.Get(i).labelled) evaluation.tokens += label;
    }
    evaluation.nll_sum =
        evaluation.tokens * (Loss(adapter.values, 0.1) + engine_->more_loss);
    return evaluation;
  }

  absl::StatusOr<TrainResult> Train(
      const Adapter& adapter, const ExampleSource& examples,
      const TrainConfig& config, CheckpointStore* checkpoints,
      const StopToken& stop,
      const std::function<void(const TrainProgress&)>& progress) override {
    ++engine_->trainings;
    engine_->micro_batch = config.micro_batch;
    engine_->SetCorrection(config.correction);
    const float target = Target(examples);
    Random jitter = Random(config.seed).Split("jitter", config.round);
    TrainResult result;
    const ParameterVector before =
        Gather(adapter.values, TrainedRanges(adapter.layout, config));
    ParameterVector values = before;
    result.first_loss = Loss(values, target);
    int64_t step =
        checkpoints == nullptr ? 0 : Resume(*checkpoints, config, values);
    for (int64_t i = 0; i < step * std::ssize(values); ++i) jitter.Uniform();
    result.resumed = result.steps = step;
    for (; step < config.steps; ++step) {
      if (engine_->on_step) engine_->on_step(step);
      if (stop) {
        result.stopped = true;
        if (checkpoints != nullptr) Save(*checkpoints, config, step, values);
        break;
      }
      ++engine_->steps;
      for (float& value : values) {
        value += static_cast<float>(0.25 * (target - value) +
                                    1e-3 * (jitter.Uniform() - 0.5));
      }
      for (size_t i = 0; i < config.correction.size(); ++i) {
        values[i] -= static_cast<float>(config.lr * config.correction[i]);
      }
      result.steps = step + 1;
      result.last_loss = Loss(values, target);
      if (checkpoints != nullptr && checkpoints->IsDue(1)) {
        Save(*checkpoints, config, step + 1, values);
      }
      progress(
          {.step = step + 1, .steps = config.steps, .loss = result.last_loss});
    }
    result.delta.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      result.delta[i] = values[i] - before[i];
    }
    return result;
  }

 private:
  // Which segment; then the steps done, a byte; then the values.
  static std::string Begin(const CheckpointStore& store,
                           const TrainConfig& config) {
    return store.task() + static_cast<char>(config.round);
  }
  static void Save(CheckpointStore& store, const TrainConfig& config,
                   int64_t step, const ParameterVector& values) {
    const std::string head = Begin(store, config) + static_cast<char>(step);
    const std::string rest = SerializeParameters(values);
    const std::span<const uint8_t> parts[] = {ByteSpan(head), ByteSpan(rest)};
    store.Save(parts);
  }
  static int64_t Resume(CheckpointStore& store, const TrainConfig& config,
                        ParameterVector& values) {
    const std::string bytes = store.Load();
    if (bytes.empty()) return 0;
    const std::string begin = Begin(store, config);
    if (!bytes.starts_with(begin)) {
      store.Refused("of another segment");
      return 0;
    }
    values = Get(ParseParameters(ByteSpan(bytes).subspan(begin.size() + 1),
                                 values.size()));
    const int64_t step = bytes[begin.size()];
    store.Resumed(step, config.steps);
    return step;
  }
  static double Loss(const ParameterVector& values, double target) {
    double sum = 0;
    for (float value : values) sum += (value - target) * (value - target);
    return sum / static_cast<double>(values.size());
  }
  // Near 0.1, and another for other examples.
  static float Target(const ExampleSource& examples) {
    int64_t sum = 0;
    for (int64_t i = 0; i < examples.size(); ++i) {
      for (int32_t token : examples.Get(i).tokens) sum += token;
    }
    if (const TeacherTargets* targets = examples.targets()) {
      sum += 100 + targets->k();
    }
    return 0.1f + 1e-5f * static_cast<float>(sum % 997);
  }

  FakeEngine* const engine_;
  const std::shared_ptr<const ModelFile> model_;
};

class FakeTeacher final : public Teacher {
 public:
  explicit FakeTeacher(FakeEngine* engine) : engine_(engine) {}

  absl::StatusOr<Evaluation> Evaluate(const ExampleSource&, int64_t,
                                      const StopToken&) override {
    return absl::UnimplementedError("nobody asks");
  }
  absl::Status ComputeTargets(
      const ExampleSource& examples, double, int64_t k,
      const std::function<absl::Status(const TopTokens&)>& take,
      const StopToken& stop, const std::function<void(int64_t)>&) override {
    ++engine_->asked;
    TopTokens row;
    for (int32_t id = 0; id < k; ++id) row.ids.push_back(id);
    row.log_probabilities.assign(row.ids.size(),
                                 -std::log(static_cast<float>(k + 1)));
    row.log_rest = row.log_probabilities[0];
    for (int64_t n = PositionsOf(examples); n > 0; --n) {
      if (stop) return absl::CancelledError("the teacher was stopped");
      EDGETUNE_RETURN_IF_ERROR(take(row));
    }
    return absl::OkStatus();
  }

 private:
  FakeEngine* const engine_;
};

void UseAdapter(TestRun& run, const std::string& rule,
                const ParameterLayout& layout, const ParameterVector& initial) {
  v1::LoraSpec& lora = *run.plan.mutable_lora();
  lora.set_rule(rule);
  lora.clear_layout();
  for (const auto& tensor : layout.tensors()) {
    v1::LayoutTensor* out = lora.add_layout();
    out->set_name(tensor.name);
    *out->mutable_shape() = {tensor.shape.begin(), tensor.shape.end()};
  }
  run.adapter_blob = SerializeParameters(initial);
  lora.set_initial_digest(Sha256Bytes(run.adapter_blob));
}

}  // namespace

TestKeys MakeTestKeys() {
  TestKeys keys{Get(SigningKey::Generate()),
                Get(SigningKey::Generate()),
                Get(SigningKey::Generate()),
                {}};
  keys.trusted.release = {keys.release.public_key()};
  keys.trusted.round = {keys.round.public_key()};
  keys.trusted.roster = {keys.authority.public_key()};
  return keys;
}

TestRun MakeTestRun(const std::string& directory, uint32_t cohort) {
  TestRun run;
  run.model_path = directory + "/tiny.gguf";
  EDGETUNE_CHECK(WriteTinyModel(run.model_path).ok());
  FillHeader(run.plan.mutable_header());
  run.plan.set_nonce(Get(SecureRandom(32)));
  run.plan.set_name("test");
  FillModel(run.model_path, run.plan.mutable_model());
  run.adapter_blob = FillLora(Get(ModelFile::Open(run.model_path))->config(),
                              run.plan.mutable_lora());
  run.plan.mutable_data()->set_schema("auto");
  run.plan.mutable_data()->set_max_length(64);
  run.plan.mutable_data()->set_holdout(0.25);
  FillTrain(run.plan.mutable_train());
  run.plan.mutable_fleet()->set_population("default");
  FillRounds(cohort, run.plan.mutable_rounds());
  run.plan.mutable_privacy()->set_mode("off");
  return run;
}

void UseFedSb(TestRun& run) {
  const ParameterLayout layout = WithCores(Get(AdapterLayout(run.plan)));
  UseAdapter(run, "fedsb", layout, InitialCoreAdapter(layout, 7));
}

void UseFrozen(TestRun& run, const std::string& rule, int64_t frozen) {
  const ParameterLayout trained = Get(AdapterLayout(run.plan));
  const int64_t rank = run.plan.lora().rank();
  const ParameterLayout layout = LayoutOfRank(trained, rank + frozen);
  UseAdapter(run, rule, layout,
             PadSlices(InitialAdapter(trained, 7), layout, rank));
}

void Mask(v1::TaskPlan& plan) {
  v1::SecAggSpec& secagg = *plan.mutable_secagg();
  secagg.set_enabled(true);
  secagg.set_n_min(4);
  secagg.set_bits(32);
  secagg.set_bound(0.5);
  secagg.set_group(300);
  secagg.set_max_contributions(1);
  plan.mutable_rounds()->set_quorum(
      SecAggThreshold(CohortAsked(plan.rounds())));
}

v1::Envelope SignedPlan(const v1::TaskPlan& plan, const TestKeys& keys) {
  return Get(
      SignDocument(DocumentUse::kPlan, plan.SerializeAsString(), keys.release));
}

v1::RoundManifest MakeManifest(const v1::TaskPlan& plan,
                               const v1::Envelope& signed_plan,
                               uint32_t round) {
  const bool train = round < plan.rounds().count();
  v1::RoundManifest manifest;
  FillHeader(manifest.mutable_header());
  manifest.set_kind(train ? v1::RoundManifest::TRAIN : v1::RoundManifest::EVAL);
  manifest.set_plan_digest(Sha256Bytes(signed_plan.payload()));
  manifest.set_round(round);
  manifest.set_adapter_digest(plan.lora().initial_digest());
  if (train) manifest.set_coordinates(Get(UpdateLayout(plan, round)).size());
  manifest.set_deadline_ms(manifest.header().expires_ms());
  return manifest;
}

v1::Assignment MakeAssignment(const v1::TaskPlan& plan,
                              const v1::RoundManifest& manifest,
                              const TestKeys& keys) {
  v1::Assignment assignment;
  *assignment.mutable_plan() = SignedPlan(plan, keys);
  *assignment.mutable_manifest() = Get(SignDocument(
      DocumentUse::kManifest, manifest.SerializeAsString(), keys.round));
  return assignment;
}

std::string WriteChatData(const std::string& directory,
                          const std::string& topic, int examples) {
  const std::string path = directory + "/" + topic + ".jsonl";
  std::ofstream out(path);
  for (int i = 0; i < examples; ++i) {
    out << R"({"messages":[{"role":"user","content":"Say )" << topic << i
        << R"("},{"role":"assistant","content":")" << topic << " " << i
        << R"("}]})"
        << "\n";
  }
  return path;
}

ClientFile MakeClientFile(const std::string& directory,
                          const std::string& topic, int examples) {
  ClientFile file;
  file.data.train = WriteChatData(directory, topic, examples);
  file.train.threads = 1;
  return file;
}

absl::StatusOr<std::unique_ptr<Trainer>> FakeEngine::MakeTrainer(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  ++trainers;
  return std::make_unique<FakeTrainer>(this, std::move(model));
}

absl::StatusOr<std::unique_ptr<Teacher>> FakeEngine::MakeTeacher(
    std::shared_ptr<const ModelFile> /*teacher*/,
    const ModelConfig& /*student*/, std::vector<int32_t> /*teacher_tokens*/,
    const EngineOptions& /*options*/) {
  return std::make_unique<FakeTeacher>(this);
}

absl::StatusOr<std::unique_ptr<LanguageModel>> FakeEngine::MakeLanguageModel(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options) {
  return absl::UnimplementedError("the fake engine only trains");
}

}  // namespace edgetune::testing
