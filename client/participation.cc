#include "client/participation.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/log.h"
#include "base/parameter_views.h"
#include "base/status.h"
#include "base/units.h"
#include "client/checkpoint_file.h"
#include "client/memory_budget.h"
#include "client/own_teacher.h"
#include "client/train_plan.h"
#include "client/update_pipeline.h"
#include "privacy/crypto/hash.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

// People watch progress; twice a second is enough for them.
constexpr absl::Duration kProgressEvery = absl::Milliseconds(500);

}  // namespace

std::string SessionText(const SessionId& id) {
  return fmt::format("run {} round {}",
                     ToHex(std::string_view(id.run_id)).substr(0, 8), id.round);
}

Participation::Participation(const Workshop& workshop,
                             VerifiedAssignment assignment,
                             std::optional<v1::Report> report)
    : workshop_(workshop), assignment_(std::move(assignment)) {
  if (report.has_value()) report_ = *std::move(report);
  *report_.mutable_session() = KeyOf(assignment_.id);
}

std::string Participation::Name() const { return SessionText(assignment_.id); }

absl::Status Participation::Fetch() {
  SendProgress(v1::Progress::FETCHING, {});
  const v1::TaskPlan& plan = assignment_.plan;
  EDGETUNE_ASSIGN_OR_RETURN(const std::string engine,
                            EngineOf(plan, workshop_.file->train.engine));
  EDGETUNE_ASSIGN_OR_RETURN(rank_, RankOf(plan, workshop_.file->train.rank));
  EDGETUNE_RETURN_IF_ERROR(workshop_.models->UseEngine(engine));
  Transfer transfer(workshop_.transport, workshop_.blobs, workshop_.pause);
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t base,
                            workshop_.models->FetchBase(plan, transfer));
  report_.set_base_bytes_down(base);
  EDGETUNE_RETURN_IF_ERROR(FetchAdapter(transfer));
  EDGETUNE_RETURN_IF_ERROR(FetchControl(transfer));
  LogInfo(fmt::format("{}: fetched {} of base model and {} of adapter", Name(),
                      FormatBytes(base),
                      FormatBytes(report_.adapter_bytes_down())));
  EDGETUNE_RETURN_IF_ERROR(workshop_.models->Open(plan));
  return LoadTrainer();
}

// Data first: how long examples are decides what the trainer may keep.
absl::Status Participation::LoadTrainer() {
  const v1::TaskPlan& plan = assignment_.plan;
  const DataCache& cache = *workshop_.data;
  if (cache.fitted != assignment_.id.run_id) {
    EDGETUNE_RETURN_IF_ERROR(LoadData(plan));
    EDGETUNE_RETURN_IF_ERROR(FitMemory());
  }
  EDGETUNE_RETURN_IF_ERROR(LoadData(WithLength(plan, cache.choice)));
  EDGETUNE_RETURN_IF_ERROR(AskOwnTeacher(plan));
  return workshop_.models->Load(plan, cache.choice);
}

absl::Status Participation::FitMemory() {
  const v1::TaskPlan& plan = assignment_.plan;
  BaseModels& models = *workshop_.models;
  DataCache& cache = *workshop_.data;
  const uint64_t budget = MemoryBudgetOf(plan, workshop_.file->train);
  if (budget != 0) models.DropTrainer();
  EDGETUNE_ASSIGN_OR_RETURN(const std::string engine,
                            EngineOf(plan, workshop_.file->train.engine));
  EDGETUNE_ASSIGN_OR_RETURN(
      const MemoryPlan fitted,
      FitToMemory({.plan = plan,
                   .model = models.model(),
                   .data = cache.data,
                   .data_name = DataName(workshop_.file->data),
                   .engine = engine,
                   .bf16 = models.engine().UsesBf16(
                       EngineOptionsOf(plan, models.threads()).precision),
                   .threads = models.threads(),
                   .rank = rank_,
                   .resident = models.resident()},
                  budget));
  cache.choice = fitted.choice;
  cache.fitted = assignment_.id.run_id;
  if (budget != 0) {
    LogInfo(fmt::format("{}: memory: {} of the budget of {}", Name(),
                        MemoryPlanText(fitted), FormatBytes(budget)));
  }
  return absl::OkStatus();
}

absl::Status Participation::FetchAdapter(Transfer& transfer) {
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            AdapterLayout(assignment_.plan));
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      DigestFromBytes(assignment_.manifest.adapter_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const uint64_t bytes,
      transfer.Fetch(digest, layout.size() * sizeof(float)));
  report_.set_adapter_bytes_down(bytes);
  return absl::OkStatus();
}

absl::Status Participation::LoadAdapter() {
  if (!adapter_.values.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(adapter_.layout, AdapterLayout(assignment_.plan));
  adapter_.spec = AdapterSpecOf(assignment_.plan);
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest digest,
      DigestFromBytes(assignment_.manifest.adapter_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, workshop_.blobs->Get(digest));
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::span<const float> values,
      ViewParameters(blob->bytes(), adapter_.layout.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(values, "the incoming adapter"));
  adapter_.values.assign(values.begin(), values.end());
  adapter_ = PartOf(assignment_.plan, std::move(adapter_), rank_);
  return LoadOwnFactor();
}

absl::Status Participation::LoadData(const v1::TaskPlan& plan) {
  const v1::TrainSpec& train = plan.train();
  const std::string key =
      fmt::format("{} {} {} {} {} {}", plan.model().digest(), train.seed(),
                  plan.data().SerializeAsString(), train.teacher_alpha() > 0,
                  train.teacher_temperature(), train.teacher_top_k());
  DataCache& cache = *workshop_.data;
  if (cache.data.train != nullptr && cache.key == key) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(cache.data,
                            (*workshop_.read_data)(workshop_.file->data, plan,
                                                   workshop_.models->model()));
  cache.key = key;
  LogInfo(fmt::format(
      "{}: {} training examples ({}), {} held out{}", Name(),
      cache.data.train->size(), cache.data.report.schema,
      cache.data.heldout == nullptr ? 0 : cache.data.heldout->size(),
      RemarksOf(cache.data.report)));
  return absl::OkStatus();
}

absl::Status Participation::AskOwnTeacher(const v1::TaskPlan& plan) {
  LocalData& data = workshop_.data->data;
  if (!AsksTeachers(plan) || data.train->targets() != nullptr ||
      assignment_.manifest.kind() != v1::RoundManifest::TRAIN) {
    return absl::OkStatus();
  }
  const ClientFile& file = *workshop_.file;
  if (file.train.teacher.empty()) {
    LogInfo(fmt::format("{}: no teacher (train.teacher), learning from labels",
                        Name()));
    return absl::OkStatus();
  }
  BaseModels& models = *workshop_.models;
  models.DropTrainer();  // a device has no memory for both
  const absl::Time start = workshop_.clock->Now();
  EDGETUNE_ASSIGN_OR_RETURN(auto targets,
                            AskTeacher({.plan = plan,
                                        .student = models.model(),
                                        .engine = models.engine(),
                                        .threads = models.threads(),
                                        .teacher = file.train.teacher,
                                        .cache = TeacherCacheIn(file.state)},
                                       *data.train, *workshop_.stop));
  LogInfo(fmt::format(
      "{}: the teacher spoke at {} positions, {}", Name(), targets->positions(),
      FormatSeconds(absl::ToDoubleSeconds(workshop_.clock->Now() - start))));
  data.train = data.train->WithTargets(std::move(targets));
  return absl::OkStatus();
}

std::string Participation::UnspentKey() const {
  return assignment_.id.run_id + assignment_.manifest.adapter_digest() +
         std::to_string(assignment_.id.round);
}

bool Participation::HasUnspent() const {
  return assignment_.masking.has_value() && workshop_.unspent->has_value() &&
         (*workshop_.unspent)->key == UnspentKey();
}

// The adapter is in memory while it is needed: a fleet has a cohort of these.
absl::Status Participation::Evaluate() {
  const absl::Status status = EvaluateAdapter();
  adapter_.values = ParameterVector();
  return status;
}

absl::Status Participation::EvaluateAdapter() {
  if (HasUnspent()) {
    result_ = (*workshop_.unspent)->result;
    LogInfo(
        fmt::format("{}: the result of the attempt before has not left "
                    "this device; it is used again",
                    Name()));
    return absl::OkStatus();
  }
  if (report_.tokens() > 0) {
    result_.nll_sum = report_.nll_sum();
    result_.tokens = report_.tokens();
    LogInfo(fmt::format("{}: was evaluated before the restart", Name()));
    return absl::OkStatus();
  }
  SendProgress(v1::Progress::EVALUATING, {});
  EDGETUNE_RETURN_IF_ERROR(ForgetControl());
  EDGETUNE_RETURN_IF_ERROR(MeasureIncomingLoss());
  EDGETUNE_RETURN_IF_ERROR(EvaluateHeldOut());
  WriteOwnAdapter();
  if (report_.tokens() == 0 && report_.incoming_loss() == 0) {
    return absl::OkStatus();
  }
  unsaved_ = true;
  return absl::OkStatus();
}

absl::Status Participation::MeasureIncomingLoss() {
  const v1::RoundsSpec& rounds = assignment_.plan.rounds();
  if (rounds.fairness_q() == 0 ||
      assignment_.manifest.kind() != v1::RoundManifest::TRAIN) {
    return absl::OkStatus();
  }
  EDGETUNE_RETURN_IF_ERROR(LoadAdapter());
  EDGETUNE_ASSIGN_OR_RETURN(const Evaluation evaluation,
                            workshop_.models->trainer().Evaluate(
                                adapter_, *workshop_.data->data.train,
                                rounds.eval_examples(), *workshop_.stop));
  EDGETUNE_ASSIGN_OR_RETURN(const double loss, IncomingLossOf(evaluation));
  report_.set_incoming_loss(loss);
  LogInfo(
      fmt::format("{}: loss on the training examples {:.4f}", Name(), loss));
  return absl::OkStatus();
}

absl::Status Participation::EvaluateHeldOut() {
  const ExampleSet* heldout = workshop_.data->data.heldout.get();
  if (heldout == nullptr || heldout->size() == 0) {
    LogInfo(fmt::format("{}: nothing held out to evaluate on", Name()));
    return absl::OkStatus();
  }
  EDGETUNE_RETURN_IF_ERROR(LoadAdapter());
  const absl::Time start = workshop_.clock->Now();
  EDGETUNE_ASSIGN_OR_RETURN(
      const Evaluation evaluation,
      workshop_.models->trainer().Evaluate(
          adapter_, *heldout, assignment_.plan.rounds().eval_examples(),
          *workshop_.stop));
  if (!std::isfinite(evaluation.nll_sum)) {
    return absl::DataLossError("the incoming adapter's loss is not finite");
  }
  report_.set_nll_sum(evaluation.nll_sum);
  report_.set_tokens(static_cast<uint64_t>(evaluation.tokens));
  report_.set_correct(static_cast<uint64_t>(evaluation.correct));
  result_.nll_sum = evaluation.nll_sum;
  result_.tokens = static_cast<uint64_t>(evaluation.tokens);
  LogInfo(fmt::format(
      "{}: held-out loss {:.4f} over {} tokens, {}", Name(),
      evaluation.tokens > 0 ? evaluation.nll_sum / evaluation.tokens : 0.0,
      evaluation.tokens,
      FormatSeconds(absl::ToDoubleSeconds(workshop_.clock->Now() - start))));
  return absl::OkStatus();
}

absl::Status Participation::Train() {
  if (HasUnspent()) {
    if (!KeepsOwnVector(assignment_.plan)) return absl::OkStatus();
    return workshop_.own_vectors->Carry(assignment_.id);
  }
  EDGETUNE_RETURN_IF_ERROR(LoadAdapter());
  EDGETUNE_RETURN_IF_ERROR(LoadCorrection());
  EDGETUNE_ASSIGN_OR_RETURN(TrainResult result, RunTrainer());
  if (result.stopped) return absl::CancelledError("training was stopped");
  LogInfo(fmt::format(
      "{}: trained {} steps ({}), loss {:.4f} to {:.4f}, {}", Name(),
      result.steps - result.resumed, workshop_.models->trainer().precision(),
      result.first_loss, result.last_loss, FormatSeconds(result.seconds)));
  result.delta = TakeSent(assignment_.plan, assignment_.id.round,
                          std::move(result.delta), adapter_);
  EDGETUNE_RETURN_IF_ERROR(TakeOwnFactor());
  adapter_.values = ParameterVector();  // whose memory is free again
  EDGETUNE_RETURN_IF_ERROR(MakeControl(result));
  EDGETUNE_RETURN_IF_ERROR(TakeResult(result));
  trained_ = true;
  return absl::OkStatus();
}

absl::Status Participation::Keep() {
  EDGETUNE_RETURN_IF_ERROR(KeepOwnVector());
  if (std::exchange(unsaved_, false)) {
    // Once trained, a crash repeats this report instead of training again.
    EDGETUNE_RETURN_IF_ERROR(workshop_.sessions->SaveReport(
        assignment_.id, report_, workshop_.clock->Now()));
  }
  if (std::exchange(trained_, false)) {
    CheckpointFile::Remove(CheckpointFile::PathIn(workshop_.file->state));
  }
  return absl::OkStatus();
}

absl::Status Participation::TakeResult(const TrainResult& result) {
  if (!assignment_.masking.has_value()) return MakeUpdate(result);
  // In memory only: what would be on the disk is not masked.
  result_.delta = result.delta;
  result_.weight =
      WeightOf(assignment_.plan, workshop_.data->data.train->size());
  *workshop_.unspent = Unspent{UnspentKey(), result_};
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> Participation::RunTrainer() {
  const ExampleSet& examples = *workshop_.data->data.train;
  TrainConfig config =
      TrainConfigOf(assignment_.plan, assignment_.id.round,
                    {DataName(workshop_.file->data), examples.size()});
  config.micro_batch = workshop_.data->choice.micro_batch;
  config.correction = correction_;
  LogInfo(fmt::format("{}: training {} steps of {} examples on {}", Name(),
                      config.steps, config.batch, examples.size()));
  SendProgress(v1::Progress::TRAINING, {.step = 0, .steps = config.steps});
  const std::string path = CheckpointFile::PathIn(workshop_.file->state);
  const absl::Duration every = workshop_.file->train.checkpoint_every;
  std::optional<CheckpointFile> checkpoints;
  if (!path.empty() && every > absl::ZeroDuration()) {
    // The run's id is the plan's digest, which covers the base model.
    checkpoints.emplace(path, Name(), assignment_.id.run_id, every);
  }
  return workshop_.models->trainer().Train(
      adapter_, examples, config, checkpoints ? &*checkpoints : nullptr,
      *workshop_.stop, [this](const TrainProgress& at) {
        if (workshop_.clock->Now() - last_progress_ < kProgressEvery) return;
        SendProgress(v1::Progress::TRAINING, at);
      });
}

absl::Status Participation::MakeUpdate(const TrainResult& result) {
  const v1::TaskPlan& plan = assignment_.plan;
  EDGETUNE_ASSIGN_OR_RETURN(
      const std::span<const uint8_t> bytes,
      MakeClearUpdate(result.delta, plan.rounds().clear_bound()));
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, workshop_.blobs->Put(bytes));
  report_.set_update_digest(DigestBytes(digest));
  report_.set_weight(WeightOf(plan, workshop_.data->data.train->size()));
  if (rank_ < plan.lora().rank()) report_.set_rank(rank_);
  if (plan.train().epochs() > 0) {
    report_.set_train_steps(static_cast<uint32_t>(result.steps));
  }
  report_.set_train_loss(result.last_loss);
  report_.set_train_tokens(static_cast<uint64_t>(result.tokens));
  report_.set_train_seconds(result.seconds);
  unsaved_ = true;
  return absl::OkStatus();
}

absl::Status Participation::Upload() {
  SendProgress(v1::Progress::UPLOADING, {});
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(report_.update_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, workshop_.blobs->Get(digest));
  v1::UploadKey key;
  *key.mutable_session() = KeyOf(assignment_.id);
  key.set_sha256(report_.update_digest());
  key.set_size(blob->bytes().size());
  Transfer transfer(workshop_.transport, workshop_.blobs, workshop_.pause);
  EDGETUNE_RETURN_IF_ERROR(transfer.Send(key, blob->bytes()));
  LogInfo(
      fmt::format("{}: sent {}", Name(), FormatBytes(blob->bytes().size())));
  return absl::OkStatus();
}

absl::StatusOr<secagg::RingVector> Participation::MakeInput(
    RandomSource& random) const {
  return MakeMaskedInput(*assignment_.masking,
                         assignment_.plan.rounds().weight_cap(), result_,
                         random);
}

absl::Status Participation::UploadMasked() {
  const std::span<const uint8_t> bytes = ByteSpan(masked_);
  v1::UploadKey key;
  *key.mutable_session() = KeyOf(assignment_.id);
  key.set_sha256(DigestBytes(Sha256(bytes)));
  key.set_size(bytes.size());
  Transfer transfer(workshop_.transport, workshop_.blobs, workshop_.pause);
  EDGETUNE_RETURN_IF_ERROR(transfer.Send(key, bytes));
  LogInfo(
      fmt::format("{}: sent {}, masked", Name(), FormatBytes(bytes.size())));
  return absl::OkStatus();
}

void Participation::Discard() {
  for (const std::string& bytes :
       {assignment_.manifest.adapter_digest(),
        assignment_.manifest.control_digest(), report_.update_digest()}) {
    const auto digest = DigestFromBytes(bytes);
    if (!digest.ok() || !workshop_.blobs->Has(*digest)) continue;
    const absl::Status status = workshop_.blobs->Remove(*digest);
    if (!status.ok()) {
      LogWarning(fmt::format("{}: cannot remove a finished blob: {}", Name(),
                             std::string(status.message())));
    }
  }
}

// Under masking the coordinator is told nothing of a single client's loss, nor
// of its examples: where steps follow from them it hears of hundredths.
TrainProgress Participation::ToldProgress(TrainProgress at) const {
  if (!assignment_.masking.has_value()) return at;
  at.loss = 0;
  if (assignment_.plan.train().epochs() > 0 && at.steps > 0) {
    at.step = 100 * at.step / at.steps;
    at.steps = 100;
  }
  return at;
}

void Participation::SendProgress(v1::Progress::Phase phase,
                                 const TrainProgress& at) {
  last_progress_ = workshop_.clock->Now();
  v1::ClientMessage message;
  v1::Progress* progress = message.mutable_progress();
  *progress->mutable_session() = KeyOf(assignment_.id);
  progress->set_phase(phase);
  const TrainProgress told = ToldProgress(at);
  progress->set_step(static_cast<uint32_t>(told.step));
  progress->set_steps(static_cast<uint32_t>(told.steps));
  progress->set_loss(told.loss);
  workshop_.transport->Send(message);
}

}  // namespace edgetune
