#include "simulations/fleet/simulated_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "client/assignment.h"
#include "privacy/crypto/hash.h"
#include "protos/local_work.h"

namespace edgetune {
namespace {

// Of the first `most` examples (0: all).
uint64_t TokensOf(const ExampleSource& examples, int64_t most) {
  const int64_t count =
      most == 0 ? examples.size() : std::min(most, examples.size());
  uint64_t tokens = 0;
  for (int64_t i = 0; i < count; ++i) tokens += examples.Get(i).tokens.size();
  return tokens;
}

// Steps of a fixed number take examples in turn: the mean so many times.
uint64_t TrainingTokens(const v1::TrainSpec& train,
                        const ExampleSource& examples) {
  const uint64_t all = TokensOf(examples, 0);
  if (train.epochs() > 0) return all * train.epochs();
  const double mean =
      static_cast<double>(all) / static_cast<double>(examples.size());
  return static_cast<uint64_t>(mean * train.steps() * train.batch());
}

ClientFile FileOf(const FleetGround& ground, size_t number,
                  const std::string& name) {
  ClientFile file;
  file.train.memory_budget = ground.budgets ? ground.model->Memory(number) : 0;
  file.population = ground.population;
  file.data.name = name;
  file.train.checkpoint_every = absl::ZeroDuration();
  file.train.rank = ground.model->LargestRank(number);
  return file;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SimulatedDevice>> SimulatedDevice::Make(
    const FleetGround* ground, size_t number, std::string name,
    const SigningKey* identity) {
  const std::string seed =
      fmt::format("edgetune simulated device {} {}", ground->seed, number);
  EDGETUNE_ASSIGN_OR_RETURN(SeededRandom random,
                            SeededRandom::Make(Sha256(ByteSpan(seed))));
  std::unique_ptr<SimulatedDevice> device(new SimulatedDevice(
      ground, number, std::move(name), identity, std::move(random)));
  EDGETUNE_ASSIGN_OR_RETURN(device->database_,
                            Database::Open(":memory:", Client::Migrations()));
  return device;
}

SimulatedDevice::SimulatedDevice(const FleetGround* ground, size_t number,
                                 std::string name, const SigningKey* identity,
                                 SeededRandom random)
    : ground_(ground),
      number_(number),
      name_(std::move(name)),
      identity_(identity),
      random_(std::move(random)),
      blobs_(ground->memory),
      base_(ground->base->MakeHandle(MakeHooks())) {}

SimulatedDevice::~SimulatedDevice() { TurnOff(); }

SharedBase::Hooks SimulatedDevice::MakeHooks() {
  SharedBase::Hooks hooks;
  hooks.fetch = [this](const v1::FilePart& part) {
    const auto digest = DigestFromBytes(part.sha256());
    if (digest.ok()) transport_->CountDownload(*digest, part.size());
  };
  if (*ground_->replace_trainer) {
    hooks.replace = [this](std::function<Trainer&()> trainer) {
      return (*ground_->replace_trainer)(number_, std::move(trainer));
    };
  }
  return hooks;
}

void SimulatedDevice::TurnOn() {
  if (is_on() || ended_.has_value()) return;
  on_ = std::make_shared<const bool>(true);
  transport_ = std::make_unique<FleetTransport>(
      ground_->network, name_, ground_->model->Latency(number_),
      FleetTransport::Taps{
          .on_send = [this](const v1::ClientMessage& m) { OnSend(m); },
          .on_receive = [this](const v1::ServerMessage& m) { OnReceive(m); },
          .deliver = [this] { Step(); }});
  auto client = Client::Make(
      {.transport = transport_.get(),
       .database = database_.get(),
       .cache = &blobs_,
       .clock = ground_->clock,
       .engine = nullptr,
       .trusted = ground_->trusted,
       .device_id = name_,
       .identity = identity_,
       .work = this,
       .models = base_.get(),
       .read_data =
           [this](const ClientFile::Data& data, const v1::TaskPlan& plan,
                  const ModelFile& model) {
             return ReadAndMeasure(data, plan, model);
           },
       .random = &random_},
      {.file = FileOf(*ground_, number_, name_)});
  const absl::Status started =
      client.ok() ? (*client)->Start() : client.status();
  if (!started.ok()) {
    ended_ = started;
    transport_.reset();
    return;
  }
  client_ = *std::move(client);
  Step();
}

void SimulatedDevice::TurnOff() {
  if (!is_on()) return;
  on_.reset();
  (void)client_->Leave();
  // The work reads what the client holds; it was told to stop.
  if (computing_.valid()) computing_.wait();
  computing_ = {};
  finish_ = nullptr;
  client_.reset();
  transport_.reset();
  alarm_ = absl::InfiniteFuture();
}

void SimulatedDevice::Halt() {
  if (is_on()) client_->RequestStop();
}

void SimulatedDevice::At(absl::Time when, std::function<void()> what) {
  ground_->network.queue->At(
      std::max(when, ground_->clock->Now()),
      [on = std::weak_ptr<const bool>(on_), what = std::move(what)] {
        if (!on.expired()) what();
      });
}

void SimulatedDevice::Step() {
  if (stepping_ || !is_on()) return;
  stepping_ = true;
  client_->Step();
  stepping_ = false;
  if (client_->HasEnded()) {
    ended_ = client_->Leave();
    return TurnOff();
  }
  const absl::Time next = client_->NextTimer();
  if (next == alarm_ || next == absl::InfiniteFuture()) return;
  alarm_ = next;
  At(next, [this, next] {
    if (alarm_ == next) alarm_ = absl::InfiniteFuture();
    Step();
  });
}

// --- work

void SimulatedDevice::Start(WorkStep step, Job job, Done done) {
  const DeviceModel& model = *ground_->model;
  switch (step) {
    case WorkStep::kFetch:
      return Transfer(/*up=*/false, job, std::move(done));
    case WorkStep::kUpload:
      return Transfer(/*up=*/true, job, std::move(done));
    case WorkStep::kEvaluate: {
      const absl::Duration takes =
          model.EvaluationTime(number_, evaluation_tokens_);
      // A training session that drops out does so while it trains.
      if (session_.has_value() && !session_->train) VanishWithin(takes);
      return Compute(takes, std::move(job), std::move(done));
    }
    case WorkStep::kTrain: {
      const absl::Duration takes =
          model.TrainingTime(number_, training_tokens_);
      one_step_ = takes / static_cast<double>(std::max<uint64_t>(1, steps_));
      if (session_.has_value()) session_->training = takes;
      VanishWithin(takes);
      return Compute(takes, std::move(job), std::move(done));
    }
  }
}

void SimulatedDevice::Transfer(bool up, const Job& job, Done done) {
  const auto moved = [this, up] {
    return up ? transport_->bytes_up() : transport_->bytes_down();
  };
  const uint64_t before = moved();
  const absl::Status status = job();
  const uint64_t bytes = moved() - before;
  FinishAfter(
      up ? ground_->model->UploadTime(number_, bytes)
         : ground_->model->DownloadTime(number_, bytes),
      [status] { return status; }, std::move(done));
}

void SimulatedDevice::Compute(absl::Duration takes, Job job, Done done) {
  computing_ = ground_->workers->Submit(std::move(job)).share();
  FinishAfter(
      takes, [this] { return AwaitComputing(); }, std::move(done));
}

absl::Status SimulatedDevice::AwaitComputing() {
  constexpr std::chrono::milliseconds kTick(50);
  while (computing_.wait_for(kTick) != std::future_status::ready) {
    if (*ground_->stop) return absl::CancelledError("the run was stopped");
  }
  return std::exchange(computing_, {}).get();
}

void SimulatedDevice::FinishAfter(absl::Duration takes,
                                  std::function<absl::Status()> result,
                                  Done done) {
  finish_ = [this, result = std::move(result), done = std::move(done)] {
    const absl::Status status = result();
    // What was cut short says nothing about the device.
    if (!*ground_->stop) done(status);
  };
  At(ground_->clock->Now() + takes, [this, work = ++works_] {
    if (work == works_) FinishWork();
  });
}

void SimulatedDevice::FinishWork() {
  std::exchange(finish_, nullptr)();
  one_step_ = absl::ZeroDuration();
  Step();
}

// Training stops between two steps.
void SimulatedDevice::Interrupt() {
  if (!finish_) return;
  At(ground_->clock->Now() + one_step_, [this, work = ++works_] {
    if (work == works_) FinishWork();
  });
}

void SimulatedDevice::VanishWithin(absl::Duration work) {
  if (!session_.has_value()) return;
  const std::pair session(session_->round, session_->attempt);
  if (vanished_from_ == session) return;
  const std::optional<double> share =
      ground_->model->VanishesAt(number_, session.first, session.second);
  if (!share.has_value()) return;
  At(ground_->clock->Now() + *share * work, [this, session] {
    // The session may have ended before.
    if (session_.has_value() &&
        session == std::pair(session_->round, session_->attempt)) {
      vanished_from_ = session;
      Vanish();
    }
  });
}

void SimulatedDevice::Vanish() {
  Tell(SessionNews::Kind::kVanished, "went off-line");
  TurnOff();
  const absl::Time back = ground_->model->NextOnline(
      number_, ground_->clock->Now() + ground_->model->GoneFor(number_));
  if (back == absl::InfiniteFuture()) return;
  ground_->network.queue->At(back, [this] { TurnOn(); });
}

absl::StatusOr<LocalData> SimulatedDevice::ReadAndMeasure(
    const ClientFile::Data& data, const v1::TaskPlan& plan,
    const ModelFile& model) {
  EDGETUNE_ASSIGN_OR_RETURN(LocalData read,
                            (*ground_->read_data)(data, plan, model));
  training_tokens_ = TrainingTokens(plan.train(), *read.train);
  steps_ = StepsOf(plan.train(), static_cast<uint64_t>(read.train->size()));
  evaluation_tokens_ =
      read.heldout == nullptr
          ? 0
          : TokensOf(*read.heldout, plan.rounds().eval_examples());
  return read;
}

// --- what is seen of the session

void SimulatedDevice::OnSend(const v1::ClientMessage& message) {
  if (message.has_report()) report_ = message.report();
  if (message.has_declined()) {
    Tell(SessionNews::Kind::kDeclined, message.declined().detail());
  }
}

void SimulatedDevice::OnReceive(const v1::ServerMessage& message) {
  if (message.has_assignment()) return OnAssignment(message.assignment());
  if (!message.has_outcome() || !session_.has_value()) return;
  const v1::Outcome& outcome = message.outcome();
  if (outcome.session().round() != session_->round ||
      outcome.session().attempt() != session_->attempt) {
    return;
  }
  switch (outcome.result()) {
    case v1::Outcome::ACCEPTED:
      return Tell(SessionNews::Kind::kAccepted, "",
                  report_.has_value() ? &*report_ : nullptr);
    case v1::Outcome::REFUSED:
      return Tell(SessionNews::Kind::kRefused, outcome.detail());
    case v1::Outcome::LATE:
      return Tell(SessionNews::Kind::kLate, outcome.detail());
    default:
      return Tell(SessionNews::Kind::kCancelled, outcome.detail());
  }
}

// Said again after a reconnect, too: that is no new session.
void SimulatedDevice::OnAssignment(const v1::Assignment& assignment) {
  const SessionId id = ClaimedId(assignment);
  if (session_.has_value() && session_->round == id.round &&
      session_->attempt == id.attempt) {
    return;
  }
  v1::RoundManifest manifest;
  if (!manifest.ParseFromString(assignment.manifest().payload())) return;
  session_ = SessionNews{.kind = SessionNews::Kind::kSelected,
                         .at = ground_->clock->Now(),
                         .device = number_,
                         .round = id.round,
                         .attempt = id.attempt,
                         .train = manifest.kind() == v1::RoundManifest::TRAIN};
  report_.reset();
  down_before_ = transport_->bytes_down();
  up_before_ = transport_->bytes_up();
  ground_->observer->OnSession(*session_);
}

void SimulatedDevice::Tell(SessionNews::Kind kind, std::string reason,
                           const v1::Report* report) {
  if (!session_.has_value()) return;
  SessionNews news = *std::exchange(session_, std::nullopt);
  news.kind = kind;
  news.at = ground_->clock->Now();
  news.reason = std::move(reason);
  news.report = report;
  news.bytes_down = transport_->bytes_down() - down_before_;
  news.bytes_up = transport_->bytes_up() - up_before_;
  ground_->observer->OnSession(news);
}

}  // namespace edgetune
