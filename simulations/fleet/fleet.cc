#include "simulations/fleet/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/process_memory.h"
#include "base/status.h"
#include "base/units.h"
#include "client/train_plan.h"
#include "privacy/identity/party.h"
#include "privacy/identity/roster.h"
#include "privacy/identity/roster_file.h"
#include "protos/plan_check.h"
#include "protos/run_status.h"

namespace edgetune {
namespace {

// Documents of a simulation are not executed anywhere else.
constexpr absl::Duration kFleetRosterLife = absl::Hours(24 * 365);
// How long messages may be under way after a run has ended.
constexpr absl::Duration kLongestLatency = absl::Minutes(1);

absl::StatusOr<std::unique_ptr<SigningKey>> MakeKey() {
  EDGETUNE_ASSIGN_OR_RETURN(SigningKey key, SigningKey::Generate());
  return std::make_unique<SigningKey>(std::move(key));
}

}  // namespace

Fleet::Fleet(Options options)
    : options_(std::move(options)), clock_(options_.start), blobs_(&memory_) {
  memory_.SpillTo(options_.spill_directory, options_.most_blobs);
}

Fleet::~Fleet() {
  // Devices leave while what they use is there.
  devices_.clear();
  if (coordinator_ != nullptr) coordinator_->Stop();
}

absl::StatusOr<std::unique_ptr<Fleet>> Fleet::Make(Options options) {
  std::unique_ptr<Fleet> fleet(new Fleet(std::move(options)));
  EDGETUNE_RETURN_IF_ERROR(fleet->StartCoordinator());
  EDGETUNE_RETURN_IF_ERROR(fleet->MakeDevices());
  EDGETUNE_RETURN_IF_ERROR(fleet->Submit());
  return fleet;
}

absl::Status Fleet::StartCoordinator() {
  EDGETUNE_ASSIGN_OR_RETURN(release_key_, MakeKey());
  EDGETUNE_ASSIGN_OR_RETURN(round_key_, MakeKey());
  EDGETUNE_ASSIGN_OR_RETURN(roster_key_, MakeKey());
  ground_.trusted.release = {release_key_->public_key()};
  ground_.trusted.round = {round_key_->public_key()};
  ground_.trusted.roster = {roster_key_->public_key()};
  EDGETUNE_ASSIGN_OR_RETURN(
      database_, Database::Open(":memory:", Coordinator::Migrations()));
  EDGETUNE_ASSIGN_OR_RETURN(coordinator_,
                            Coordinator::Make({.database = database_.get(),
                                               .blobs = &blobs_,
                                               .clock = &clock_,
                                               .round_key = round_key_.get(),
                                               .trusted = ground_.trusted}));
  return absl::OkStatus();
}

absl::Status Fleet::MakeDevices() {
  base_ = std::make_unique<SharedBase>(
      SharedBase::Options{.model = options_.model,
                          .digest = options_.plan.model().digest(),
                          .open_engine = options_.engine,
                          .workers = options_.workers,
                          .threads = options_.threads,
                          .journal = options_.journal});
  workers_ = std::make_unique<WorkerPool>(options_.workers);
  ground_.network = {.queue = &queue_,
                     .clock = &clock_,
                     .coordinator = coordinator_.get(),
                     .blobs = &blobs_,
                     .went_on = &went_on_};
  ground_.clock = &clock_;
  ground_.memory = &memory_;
  ground_.base = base_.get();
  ground_.workers = workers_.get();
  ground_.model = options_.model_of_devices;
  ground_.read_data = &options_.read_data;
  ground_.replace_trainer = &options_.replace_trainer;
  const auto engine = EngineOf(options_.plan, ClientFile::Train().engine);
  ground_.budgets = engine.ok() && MeansFused(*engine);
  ground_.population = options_.plan.fleet().population();
  ground_.seed = options_.seed;
  ground_.observer = options_.observer;
  if (options_.plan.secagg().enabled()) {
    EDGETUNE_RETURN_IF_ERROR(PublishRoster());
  }
  for (size_t i = 0; i < options_.devices.size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        devices_.emplace_back(),
        SimulatedDevice::Make(&ground_, i, options_.devices[i],
                              identities_.empty() ? nullptr : &identities_[i]));
  }
  return absl::OkStatus();
}

absl::Status Fleet::PublishRoster() {
  std::vector<v1::RosterEntry> entries;
  for (const std::string& name : options_.devices) {
    EDGETUNE_ASSIGN_OR_RETURN(SigningKey key, SigningKey::Generate());
    const ClientId id = ClientIdOf(name);
    v1::RosterEntry& entry = entries.emplace_back();
    entry.set_name(name);
    entry.set_client_id(id.data(), id.size());
    entry.set_identity_key(key.public_key().raw());
    entry.set_enrolled_ms(absl::ToUnixMillis(clock_.Now()) + 1);
    entry.set_status(v1::RosterEntry::ACTIVE);
    identities_.push_back(std::move(key));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.client_id() < b.client_id();
  });
  EDGETUNE_ASSIGN_OR_RETURN(Roster roster, Roster::Make(std::move(entries)));
  v1::RosterHead head;
  head.mutable_header()->set_version(1);
  head.mutable_header()->set_issued_ms(absl::ToUnixMillis(clock_.Now()));
  head.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(clock_.Now() + kFleetRosterLife));
  head.set_version(1);
  head.set_leaf_count(roster.entries().size());
  head.set_root(DigestBytes(roster.root()));
  EDGETUNE_ASSIGN_OR_RETURN(
      v1::Envelope envelope,
      SignDocument(DocumentUse::kRoster, head.SerializeAsString(),
                   *roster_key_));
  coordinator_->SetRoster(std::make_shared<PublishedRoster>(PublishedRoster{
      std::move(envelope), std::move(head), std::move(roster)}));
  return absl::OkStatus();
}

absl::Status Fleet::Submit() {
  for (const std::string& file : options_.model_files) {
    EDGETUNE_RETURN_IF_ERROR(blobs_.PutFile(file).status());
  }
  EDGETUNE_RETURN_IF_ERROR(
      blobs_.Put(ByteSpan(options_.initial_blob)).status());
  EDGETUNE_ASSIGN_OR_RETURN(
      const v1::Envelope plan,
      SignDocument(DocumentUse::kPlan, options_.plan_payload, *release_key_));
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status,
                            coordinator_->Submit(plan));
  run_id_ = status.run_id();
  return absl::OkStatus();
}

void Fleet::TurnOn(size_t number) {
  devices_[number]->TurnOn();
  const DeviceModel& model = *options_.model_of_devices;
  const absl::Time off = model.NextOffline(number, clock_.Now());
  if (off == absl::InfiniteFuture()) return;
  queue_.At(off, [this, number, &model, off] {
    devices_[number]->TurnOff();
    const absl::Time on = model.NextOnline(number, off);
    if (on == absl::InfiniteFuture()) return;
    queue_.At(on, [this, number] { TurnOn(number); });
  });
}

bool Fleet::StepCoordinator() {
  // A round may end by time alone.
  const bool due = coordinator_->NextTimer() <= clock_.Now();
  coordinator_->Step();
  return std::exchange(went_on_, false) || due;
}

absl::StatusOr<v1::RunStatus> Fleet::Observe() {
  EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status, coordinator_->Show(run_id_));
  options_.observer->OnRun(clock_.Now(), status);
  return status;
}

absl::Status Fleet::NothingWillHappen() const {
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status,
                            coordinator_->Show(run_id_));
  std::string why;
  for (const auto& device : devices_) {
    if (why.empty() && device->ended().has_value()) {
      why = fmt::format("; one left: {}",
                        std::string(device->ended()->message()));
    }
  }
  return Annotate(
      absl::FailedPreconditionError(fmt::format(
          "round {} of the run waits ({}) and no device will ever come: {} of "
          "{} are on-line{}",
          status.rounds_done(), status.phase(),
          std::count_if(devices_.begin(), devices_.end(),
                        [](const auto& device) { return device->is_on(); }),
          devices_.size(), why)),
      ErrorKind::kNotEnoughClients);
}

absl::StatusOr<v1::RunStatus> Fleet::Run(const StopToken& stop) {
  ground_.stop = &stop;
  for (size_t i = 0; i < devices_.size(); ++i) {
    const absl::Time on =
        options_.model_of_devices->NextOnline(i, clock_.Now());
    if (on == absl::InfiniteFuture()) continue;
    queue_.At(on, [this, i] { TurnOn(i); });
  }
  while (true) {
    if (StepCoordinator()) {
      EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status, Observe());
      EDGETUNE_RETURN_IF_ERROR(KeepMemory(status));
      if (HasEnded(status)) {
        DeliverOutcomes();
        return status;
      }
    }
    if (stop) {
      for (const auto& device : devices_) device->Halt();
      return absl::CancelledError("the simulation was stopped");
    }
    EDGETUNE_RETURN_IF_ERROR(options_.observer->status());
    const absl::Time next =
        std::min(queue_.NextTime(), coordinator_->NextTimer());
    if (next == absl::InfiniteFuture()) return NothingWillHappen();
    RunEvents(next);
  }
}

absl::Status Fleet::KeepMemory(const v1::RunStatus& status) {
  if (std::exchange(versions_, status.cards_size()) != status.cards_size()) {
    memory_.SpillIdle();
  }
  EDGETUNE_RETURN_IF_ERROR(memory_.status());
  const uint64_t most = options_.most_memory;
  if (most == 0) return absl::OkStatus();
  uint64_t now = ResidentBytes();
  // Near the ceiling fewer blobs are held than was predicted to be possible.
  const uint64_t near = most - most / 16;
  if (now > near) {
    const uint64_t held = memory_.held() + memory_.spare();
    memory_.SpillTo(options_.spill_directory,
                    held - std::min(held, now - near));
    now = ResidentBytes();
  }
  if (now <= most) return absl::OkStatus();
  return Annotate(
      absl::ResourceExhaustedError(fmt::format(
          "in round {} the simulation has {} in memory, more than the {} that "
          "it may have",
          status.rounds_done() + 1, FormatBytes(now), FormatBytes(most))),
      ErrorKind::kFailed,
      "go on with --resume and a larger --memory, or fewer --workers");
}

void Fleet::RunEvents(absl::Time until) {
  if (until > clock_.Now()) clock_.Advance(until - clock_.Now());
  while (queue_.NextTime() <= clock_.Now()) queue_.Take()();
}

void Fleet::DeliverOutcomes() {
  const absl::Time last = clock_.Now() + kLongestLatency;
  const auto waits = [](const auto& device) { return device->in_session(); };
  while (queue_.NextTime() <= last &&
         std::any_of(devices_.begin(), devices_.end(), waits)) {
    RunEvents(queue_.NextTime());
    coordinator_->Step();
  }
}

absl::StatusOr<ParameterVector> Fleet::ReadAdapter() const {
  EDGETUNE_ASSIGN_OR_RETURN(const v1::RunStatus status,
                            coordinator_->Show(run_id_));
  EDGETUNE_ASSIGN_OR_RETURN(
      const v1::ModelCard card,
      ParseCard(status.cards(status.cards_size() - 1).payload()));
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(card.adapter_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, blobs_.Get(digest));
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            AdapterLayout(options_.plan));
  return ParseParameters(blob->bytes(), layout.size());
}

}  // namespace edgetune
