#include "server/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "server/update_intake.h"

namespace edgetune {

using EventKind = Round::Event::Kind;
using ActionKind = Round::Action::Kind;
using ClientState = Round::ClientState;

namespace {

// A client with a clock a little ahead must still accept the manifest.
constexpr absl::Duration kManifestSlack = absl::Minutes(5);

// Of a masked round's deadline: fetch, training and key exchange.
constexpr double kShareBeforeMasking = 0.85;

std::string Seconds(absl::Duration duration) {
  return FormatSeconds(absl::ToDoubleSeconds(duration));
}

}  // namespace

std::string ShortId(std::string_view run_id) {
  return ToHex(run_id.substr(0, 4));
}

Run::Run(Stores stores, v1::TaskPlan plan)
    : plan_(std::move(plan)),
      stores_(std::move(stores)),
      blobs_(stores_.blobs),
      round_key_(stores_.round_key),
      models_(stores_.blobs, stores_.round_key) {}

Round::Options Run::RoundOptions() const {
  const v1::RoundsSpec& rounds = plan_.rounds();
  Round::Options options;
  options.cohort = rounds.cohort();
  options.asked = CohortAsked(rounds);
  options.quorum = rounds.quorum();
  options.deadline = absl::Milliseconds(rounds.deadline_ms());
  if (Masks()) {
    options.quorum = std::max(options.quorum, plan_.secagg().n_min());
    options.deadline *= kShareBeforeMasking;
  }
  options.select_timeout = rounds.select_timeout_ms() == 0
                               ? absl::Milliseconds(rounds.deadline_ms())
                               : absl::Milliseconds(rounds.select_timeout_ms());
  options.reconnect_grace = absl::Milliseconds(rounds.reconnect_grace_ms());
  return options;
}

bool Run::IsEvaluation() const { return row_.round >= plan_.rounds().count(); }

std::string Run::RoundName() const {
  std::string name = IsEvaluation() ? std::string("closing evaluation")
                                    : fmt::format("round {}", row_.round);
  if (row_.attempt > 0) name += fmt::format(" attempt {}", row_.attempt);
  return name;
}

size_t Run::UpdateBytes() const {
  if (Masks()) {
    const auto shape = Shape();
    return shape.ok() ? shape->byte_size() : 0;
  }
  if (!clear_bytes_.has_value() || clear_bytes_->first != row_.round) {
    const auto layout = UpdateLayout(plan_, row_.round);
    clear_bytes_.emplace(row_.round,
                         layout.ok() ? layout->size() * sizeof(float) : 0);
  }
  return clear_bytes_->second;
}

void Run::Say(absl::Time now, std::string text, Batch& batch, bool warning) {
  const std::string line = fmt::format("run {}: {}", ShortId(id()), text);
  warning ? LogWarning(line) : LogInfo(line);
  v1::RunEvent event;
  event.set_time_ms(absl::ToUnixMillis(now));
  event.set_text(std::move(text));
  SaveEvent(id(), ++row_.events, event, batch);
  events_.push_back(std::move(event));
  if (events_.size() > kEventsKept) events_.erase(events_.begin());
  changed_ = dirty_ = true;
}

void Run::StartRound(absl::Time now) {
  round_.emplace(RoundOptions(), now);
  sum_.reset();
  changed_ = dirty_ = true;
}

void Run::Tick(absl::Time now, Batch& batch) {
  if (Masks()) AdoptRoster();
  Apply({EventKind::kTimer}, now, batch);
  if (masked_ == nullptr) return;
  masked_->Timer(now, batch);
  AfterMasked(now, batch);
}

absl::Time Run::NextTimer() const {
  const absl::Time next =
      round_.has_value() ? round_->NextTimer() : absl::InfiniteFuture();
  return masked_ == nullptr ? next : std::min(next, masked_->NextTimer());
}

bool Run::IsSelecting() const {
  return round_.has_value() && round_->phase() == Round::Phase::kSelecting;
}

size_t Run::Reserved() const {
  return IsSelecting() && round_->IsSettling() ? CohortAsked(plan_.rounds())
                                               : 0;
}

std::vector<std::string> Run::Offer(std::vector<std::string> idle, size_t busy,
                                    int64_t turn, absl::Time now,
                                    Batch& batch) {
  if (!IsSelecting()) return {};
  Round::Event event{EventKind::kPool};
  event.idle = Masks() ? Maskable(std::move(idle)) : std::move(idle);
  DrawAmong(event.idle);
  event.busy = busy;
  Apply(event, now, batch);
  std::vector<std::string> taken;
  if (!round_.has_value() || round_->phase() != Round::Phase::kTraining) {
    return taken;
  }
  for (const std::string& device : event.idle) {
    if (round_->IsOpen(device)) taken.push_back(device);
  }
  row_.turn = turn;
  return taken;
}

// Of more devices than are asked, those asked are drawn uniformly (McMahan et
// al. 2017, Algorithm 1): by arrival, the same quick ones would be asked again
// and again.
void Run::DrawAmong(std::vector<std::string>& idle) const {
  if (idle.size() <= CohortAsked(plan_.rounds())) return;
  const uint64_t attempt = uint64_t{row_.round} << 32 | row_.attempt;
  Random(plan_.train().seed()).Split("cohort", attempt).Shuffle(idle);
}

void Run::StreamUp(const std::string& device, absl::Time now, Batch& batch) {
  down_.erase(device);
  if (masked_ != nullptr) masked_->StreamUp(device, batch);
  Apply({EventKind::kUp, device}, now, batch);
}

void Run::StreamDown(const std::string& device, absl::Time now, Batch& batch) {
  if (masked_ != nullptr) {
    masked_->StreamDown(device, now);
  } else if (InMasking(device)) {
    down_.insert(device);
  }
  Apply({EventKind::kDown, device}, now, batch);
}

void Run::Deny(const std::string& device, absl::Time now, Batch& batch) {
  if (InMasking(device)) {
    return LeaveMasking(device, "the device is denied", now, batch);
  }
  Apply({EventKind::kDeny, device}, now, batch);
}

void Run::Stop(absl::Time now, Batch& batch) {
  if (HasEnded()) return;
  const std::string detail = "stopped by an operator";
  if (!round_.has_value()) {
    return End(v1::RunStatus::STOPPED, detail, now, batch);  // it was paused
  }
  ending_.emplace(v1::RunStatus::STOPPED, detail);
  Apply({EventKind::kStop, "", detail}, now, batch);
}

void Run::Apply(const Round::Event& event, absl::Time now, Batch& batch) {
  if (!round_.has_value()) return;
  // By value: performing the last action may replace the round.
  const std::vector<Round::Action> actions = round_->Handle(event, now);
  for (const Round::Action& action : actions) Perform(action, now, batch);
}

void Run::Perform(const Round::Action& action, absl::Time now, Batch& batch) {
  changed_ = true;
  switch (action.kind) {
    case ActionKind::kAssign:
      return Assign(action.devices, now, batch);
    case ActionKind::kAccept:
      return CloseSession(action, ClientState::kReported, now, batch);
    case ActionKind::kRefuse:
      return CloseSession(action, ClientState::kRefused, now, batch);
    case ActionKind::kDecline:
      return CloseSession(action, ClientState::kDeclined, now, batch);
    case ActionKind::kLose:
      return CloseSession(action, ClientState::kLost, now, batch);
    case ActionKind::kCancel:
      return CloseSession(action, ClientState::kCancelled, now, batch);
    case ActionKind::kRepeat:
      return SendAssignment(action.device, batch);
    case ActionKind::kFinish:
      return Finish(now, batch);
    case ActionKind::kCommit:
      return Commit(now, batch);
    case ActionKind::kAbandon:
      return Abandon(action.detail, now, batch);
  }
}

void Run::Assign(const std::vector<std::string>& devices, absl::Time now,
                 Batch& batch) {
  training_since_ = now;
  absl::Status status = SignManifest(now);
  if (status.ok() && Masks()) {
    status = Shape().status();
  } else if (status.ok() && !IsEvaluation()) {
    auto sum = MakeFold();
    status = sum.status();
    if (sum.ok()) sum_ = *std::move(sum);
  }
  if (!status.ok()) {
    batch.failure = status;
    return;
  }
  row_.state = v1::RunStatus::RUNNING;
  for (const std::string& device : devices) {
    const SessionId key = IdOf(device);
    sessions_[key] = Session();
    SaveSession(id(), key, sessions_[key], batch);
    SendAssignment(device, batch);
  }
  Say(now,
      fmt::format("{}: {} with {} clients, deadline {}", RoundName(),
                  IsEvaluation() ? "evaluating" : "training", devices.size(),
                  Seconds(round_->deadline() - now)),
      batch);
}

absl::StatusOr<std::unique_ptr<UpdateFold>> Run::MakeFold() const {
  ParameterVector incoming;
  if (StepsFromProducts(plan_)) {
    EDGETUNE_ASSIGN_OR_RETURN(incoming, models_.ReadCurrent(plan_));
  }
  return MakeRoundFold(plan_, row_.round, std::move(incoming));
}

absl::Status Run::SignManifest(absl::Time now) {
  v1::RoundManifest manifest;
  *manifest.mutable_header() =
      MakeHeader(now, now + absl::Milliseconds(plan_.rounds().deadline_ms()) +
                          kManifestSlack);
  manifest.set_kind(IsEvaluation() ? v1::RoundManifest::EVAL
                                   : v1::RoundManifest::TRAIN);
  manifest.set_plan_digest(id());
  manifest.set_round(row_.round);
  manifest.set_attempt(row_.attempt);
  manifest.set_adapter_digest(DigestBytes(models_.current().adapter));
  if (!IsEvaluation()) {
    EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                              UpdateLayout(plan_, row_.round));
    manifest.set_coordinates(layout.size());
    if (models_.control().has_value()) {
      manifest.set_control_digest(DigestBytes(*models_.control()));
    }
  }
  if (models_.current().number > 0) {
    manifest.set_prev_card_digest(
        Sha256Bytes(models_.current().card.payload()));
  }
  manifest.set_deadline_ms(absl::ToUnixMillis(round_->deadline()));
  if (Masks()) EDGETUNE_RETURN_IF_ERROR(AddMaskingTerms(manifest));
  EDGETUNE_ASSIGN_OR_RETURN(
      manifest_, SignDocument(DocumentUse::kManifest,
                              manifest.SerializeAsString(), *round_key_));
  row_.manifest = manifest_.SerializeAsString();
  return absl::OkStatus();
}

void Run::Finish(absl::Time now, Batch& batch) {
  if (Masks()) return BeginMasking(now, batch);
  if (IsEvaluation()) return Apply({EventKind::kStepMade}, now, batch);
  auto combined = sum_->Finish();
  if (absl::IsFailedPrecondition(combined.status())) {
    // Too few for the rule: another attempt may have more.
    return Apply(
        {EventKind::kStepFailed, "", std::string(combined.status().message())},
        now, batch);
  }
  const absl::Status status =
      combined.ok() ? models_.Publish(plan_, id(), *combined, now, batch)
                    : combined.status();
  if (status.ok() && StepsFromProducts(plan_)) {
    Say(now, fmt::format("{}: {}", RoundName(), KeptText(*combined)), batch);
  }
  if (status.ok()) return Apply({EventKind::kStepMade}, now, batch);
  FailStep(status, now, batch);
}

std::string Run::KeptText(const Aggregator::Result& combined) const {
  const int64_t frozen = FrozenRank(plan_);
  return fmt::format(
      "{}rank {} keeps {:.2f} % of the energy of {}",
      frozen > 0 ? "frozen " : "",
      frozen > 0 ? frozen : int64_t{plan_.lora().rank()}, combined.kept * 100,
      frozen > 0 ? "what is added to the base" : "the mean of B A");
}

void Run::FailStep(const absl::Status& status, absl::Time now, Batch& batch) {
  if (!absl::IsDataLoss(status) && !absl::IsNotFound(status)) {
    batch.failure = Prefix(status, "publishing the next adapter");
    return;
  }
  const std::string detail = fmt::format("the server's step failed: {}",
                                         std::string(status.message()));
  ending_.emplace(v1::RunStatus::FAILED, detail);
  Apply({EventKind::kStepFailed, "", detail}, now, batch);
}

std::string Run::RecordMeasure(Batch& batch) {
  v1::Measure measure;
  if (Masks()) measure = masked_measure_;
  measure.set_version(row_.round);
  for (const auto& [key, session] : CurrentSessions()) {
    if (Masks() || session.state != ClientState::kReported ||
        session.tokens == 0) {
      continue;
    }
    measure.set_nll_sum(measure.nll_sum() + session.nll_sum);
    measure.set_tokens(measure.tokens() + session.tokens);
    measure.set_clients(measure.clients() + 1);
  }
  if (measure.tokens() == 0) return "";
  SaveMeasure(id(), measure, batch);
  measures_.push_back(measure);
  return fmt::format(
      ", perplexity of adapter {} is {:.2f} ({} clients, {} tokens)",
      measure.version(),
      std::exp(measure.nll_sum() / static_cast<double>(measure.tokens())),
      measure.clients(), measure.tokens());
}

void Run::Commit(absl::Time now, Batch& batch) {
  const std::string measure = RecordMeasure(batch);
  Say(now,
      fmt::format("{}: committed with {} of {} clients after {}{}; so far "
                  "{} down, {} up",
                  RoundName(),
                  masked_ != nullptr ? masked_->survivors().size()
                                     : round_->CountOf(ClientState::kReported),
                  round_->CountOf(ClientState::kReported) +
                      round_->CountOf(ClientState::kRefused) +
                      round_->CountOf(ClientState::kDeclined) +
                      round_->CountOf(ClientState::kLost),
                  Seconds(now - training_since_), measure,
                  FormatBytes(row_.bytes_down), FormatBytes(row_.bytes_up)),
      batch);
  RecordCounted(batch);
  EndMasking(true, "", now, batch);
  CleanUp(batch);
  ++row_.round;
  row_.attempt = row_.forgiven = 0;
  ForgetSessions(batch);
  if (row_.round > plan_.rounds().count()) {
    return End(v1::RunStatus::FINISHED, "", now, batch);
  }
  StartRound(now);
}

void Run::Abandon(const std::string& reason, absl::Time now, Batch& batch) {
  Say(now, fmt::format("{}: abandoned: {}", RoundName(), reason), batch, true);
  const bool selecting = row_.manifest.empty();
  EndMasking(false, reason, now, batch);
  CleanUp(batch);
  const std::string name = IsEvaluation()
                               ? std::string("the closing evaluation")
                               : fmt::format("round {}", row_.round);
  ++row_.attempt;
  if (ending_.has_value()) {
    return End(ending_->first, ending_->second, now, batch);
  }
  if (IsSpentOut(selecting)) return Pause(reason, now, batch);
  if (row_.attempt - row_.forgiven >= plan_.rounds().attempts()) {
    return End(v1::RunStatus::FAILED,
               fmt::format("not enough clients: {} was abandoned {} times in a "
                           "row; the last time {}",
                           name, row_.attempt - row_.forgiven, reason),
               now, batch);
  }
  StartRound(now);
}

void Run::End(v1::RunStatus::State state, std::string detail, absl::Time now,
              Batch& batch) {
  row_.state = state;
  row_.detail = std::move(detail);
  row_.ended_ms = std::max<int64_t>(1, absl::ToUnixMillis(now));
  round_.reset();
  sum_.reset();
  const absl::Duration took = now - absl::FromUnixMillis(row_.submitted_ms);
  if (state == v1::RunStatus::FINISHED) {
    Say(now,
        fmt::format("finished {} rounds in {}", plan_.rounds().count(),
                    Seconds(took)),
        batch);
  } else {
    Say(now,
        fmt::format("{}: {}",
                    state == v1::RunStatus::FAILED ? "failed" : "stopped",
                    row_.detail),
        batch, true);
  }
}

void Run::Save(Batch& batch) {
  if (!dirty_) return;
  SaveRun(row_, batch);
  dirty_ = false;
}

bool Run::TakeChanged() { return std::exchange(changed_, false); }

}  // namespace edgetune
