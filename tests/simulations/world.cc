#include "tests/simulations/world.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "aggregation/aggregator.h"
#include "base/atomic_file.h"
#include "base/control_variates.h"
#include "base/parameters.h"
#include "base/status.h"
#include "client/local_data.h"
#include "client/train_plan.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"

namespace edgetune::testing {
namespace {

template <typename T>
T Get(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  EDGETUNE_CHECK(value.ok());
  return *std::move(value);
}

bool HasEnded(const v1::RunStatus& status) {
  return status.state() == v1::RunStatus::FINISHED ||
         status.state() == v1::RunStatus::FAILED ||
         status.state() == v1::RunStatus::STOPPED;
}

}  // namespace

// Loses what its device does not let pass.
class Device::Lossy final : public Transport {
 public:
  explicit Lossy(Device* device) : device_(device) {}

  absl::Status Start(Listener* listener) override {
    return device_->transport->Start(listener);
  }
  void Close() override { device_->transport->Close(); }
  void Send(const v1::ClientMessage& message) override {
    if (device_->lets_pass && !device_->lets_pass(message)) return;
    device_->transport->Send(message);
  }
  absl::Status Download(
      const Digest& digest, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t> data,
                                       uint64_t total_size)>& sink) override {
    return device_->transport->Download(digest, offset, sink);
  }
  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) override {
    if (device_->on_upload) device_->on_upload(bytes);
    return device_->transport->Upload(key, offset, bytes);
  }
  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override {
    return device_->transport->QueryUpload(key);
  }

 private:
  Device* const device_;
};

Device::Device(InProcessNetwork* network, const TestKeys* keys,
               std::string directory, std::string device, Engine* engine)
    : name(std::move(device)),
      identity(Get(SigningKey::Generate())),
      network_(network),
      keys_(keys),
      directory_(std::move(directory)),
      engine_(engine) {}

Device::~Device() { (void)Stop(); }

void Device::Start(bool once) {
  database_ =
      Get(Database::Open(directory_ + "/client.db", Client::Migrations()));
  cache_ = Get(BlobStore::Open(directory_ + "/cache"));
  transport = std::make_unique<InProcessTransport>(network_, name);
  lossy_ = std::make_unique<Lossy>(this);
  client_ = Get(Client::Make(
      {.transport = lossy_.get(),
       .database = database_.get(),
       .cache = cache_.get(),
       .clock = &clock_,
       .engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
         return engine_;
       },
       .trusted = keys_->trusted,
       .device_id = name,
       .identity = &identity},
      {.file = file, .once = once, .decline_pause = absl::Milliseconds(50)}));
  thread_ = std::thread([this] { result_ = client_->Run(); });
}

absl::Status Device::Stop() {
  if (client_ != nullptr) client_->RequestStop();
  return Wait();
}

absl::Status Device::Wait() {
  if (thread_.joinable()) thread_.join();
  client_.reset();
  lossy_.reset();
  transport.reset();
  cache_.reset();
  database_.reset();
  return result_;
}

std::unique_ptr<Database> Device::OpenState() const {
  return Get(Database::Open(directory_ + "/client.db", Client::Migrations()));
}

World::World(uint32_t cohort) : run(MakeTestRun(scratch.path(), cohort)) {
  StartServer();
}

World::~World() {
  for (auto& [name, device] : devices) (void)device->Stop();
  StopServer();
}

void World::StartServer() {
  database_ =
      Get(Database::Open(scratch.File("server.db"), Coordinator::Migrations()));
  blobs_ = Get(BlobStore::Open(scratch.File("blobs")));
  coordinator_ = Get(Coordinator::Make({.database = database_.get(),
                                        .blobs = blobs_.get(),
                                        .clock = &clock_,
                                        .round_key = &keys.round,
                                        .trusted = keys.trusted}));
  if (roster_ != nullptr) coordinator_->SetRoster(roster_);
  coordinator_->Start();
  network_.Attach(coordinator_.get(), blobs_.get());
}

void World::StopServer() {
  network_.Detach();
  if (coordinator_ != nullptr) coordinator_->Stop();
  coordinator_.reset();
  blobs_.reset();
  database_.reset();
}

Device& World::AddDevice(const std::string& name, int examples,
                         Engine* engine) {
  const std::string directory = scratch.File(name);
  EDGETUNE_CHECK(MakeDirectories(directory).ok());
  auto& device = devices[name];
  device = std::make_unique<Device>(&network_, &keys, directory, name, engine);
  device->file = MakeClientFile(directory, name, examples);
  device->file.state = directory;
  return *device;
}

void World::PublishRoster() {
  std::vector<v1::RosterEntry> entries;
  for (const auto& [name, device] : devices) {
    v1::RosterEntry& entry = entries.emplace_back();
    const ClientId id = ClientIdOf(name);
    entry.set_name(name);
    entry.set_client_id(id.data(), id.size());
    entry.set_identity_key(device->identity.public_key().raw());
    entry.set_enrolled_ms(1);
    entry.set_status(v1::RosterEntry::ACTIVE);
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.client_id() < b.client_id();
  });
  Roster roster = Get(Roster::Make(std::move(entries)));
  v1::RosterHead head;
  head.mutable_header()->set_version(1);
  head.mutable_header()->set_issued_ms(absl::ToUnixMillis(absl::Now()));
  head.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(absl::Now() + absl::Hours(1)));
  head.set_version(roster_ == nullptr ? 1 : roster_->head.version() + 1);
  head.set_leaf_count(roster.entries().size());
  head.set_root(DigestBytes(roster.root()));
  roster_ = std::make_shared<PublishedRoster>(PublishedRoster{
      Get(SignDocument(DocumentUse::kRoster, head.SerializeAsString(),
                       keys.authority)),
      head, std::move(roster)});
  coordinator_->SetRoster(roster_);
}

v1::RunStatus World::Stop() { return Get(coordinator_->StopRun(run_id_)); }

v1::SpentOverride World::MakeOverride(uint32_t extra) {
  v1::SpentOverride document;
  document.mutable_header()->set_version(1);
  document.mutable_header()->set_issued_ms(absl::ToUnixMillis(absl::Now()));
  document.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(absl::Now() + absl::Hours(1)));
  document.set_plan_digest(run_id_);
  const v1::RunStatus status = Status();
  document.set_adapter_digest(
      Get(ParseCard(status.cards(status.cards_size() - 1).payload()))
          .adapter_digest());
  document.set_extra(extra);
  return document;
}

absl::StatusOr<v1::RunStatus> World::Override(const v1::SpentOverride& document,
                                              const SigningKey& key) {
  return coordinator_->Override(Get(
      SignDocument(DocumentUse::kOverride, document.SerializeAsString(), key)));
}

void World::ExecuteOnServer(const char* sql) {
  const auto database =
      Get(Database::Open(scratch.File("server.db"), Coordinator::Migrations()));
  const absl::Status status = database->Run(
      [&](Transaction& transaction) { return transaction.Execute(sql); });
  ASSERT_TRUE(status.ok()) << status;
}

std::string World::Blob(const std::string& digest) {
  const auto blob = Get(blobs_->Get(Get(DigestFromBytes(digest))));
  return {blob->bytes().begin(), blob->bytes().end()};
}

void World::Submit() {
  PublishRoster();
  Get(blobs_->PutFile(run.model_path));
  Get(blobs_->Put({reinterpret_cast<const uint8_t*>(run.adapter_blob.data()),
                   run.adapter_blob.size()}));
  run_id_ = Get(coordinator_->Submit(SignedPlan(run.plan, keys))).run_id();
}

v1::RunStatus World::Status() { return Get(coordinator_->Show(run_id_)); }

v1::RunStatus World::WaitUntil(
    const std::function<bool(const v1::RunStatus&)>& condition) {
  // The limit only keeps a hang from lasting.
  const absl::Time limit = absl::Now() + absl::Minutes(2);
  while (true) {
    v1::RunStatus status = Status();
    if (condition(status) || HasEnded(status)) return status;
    if (absl::Now() > limit) {
      ADD_FAILURE() << "the run never got there: " << status.ShortDebugString();
      return status;
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
}

v1::RunStatus World::WaitEnded() { return WaitUntil(HasEnded); }

std::vector<ParameterVector> World::Adapters() {
  const v1::RunStatus status = Status();
  const size_t size = Get(AdapterLayout(run.plan)).size();
  std::vector<ParameterVector> adapters;
  for (const v1::Envelope& envelope : status.cards()) {
    const auto card = Get(ParseCard(envelope.payload()));
    const auto blob =
        Get(blobs_->Get(Get(DigestFromBytes(card.adapter_digest()))));
    adapters.push_back(Get(ParseParameters(blob->bytes(), size)));
  }
  return adapters;
}

void World::ExpectOneDeviceEqualsLocalTraining(Engine& engine) {
  Device& device = AddDevice("animal", 20, &engine);
  const ClientFile file = device.file;
  device.Start();
  Submit();
  const v1::RunStatus status = WaitEnded();
  ASSERT_EQ(status.state(), v1::RunStatus::FINISHED)
      << status.ShortDebugString();
  const std::shared_ptr<const ModelFile> model =
      *ModelFile::Open(run.model_path);
  const auto trainer =
      *engine.MakeTrainer(model, EngineOptionsOf(run.plan, /*threads=*/1));
  EXPECT_EQ(Adapters().back(), TrainLocally(file, *trainer, *model));
}

ParameterVector World::TrainLocally(const ClientFile& file, Trainer& trainer,
                                    const ModelFile& model) const {
  const v1::TaskPlan& plan = run.plan;
  const LocalData data = *ReadLocalData(file.data, plan, model);
  Adapter adapter{AdapterSpecOf(plan), *AdapterLayout(plan), {}};
  const std::string& blob = run.adapter_blob;
  adapter.values = *ParseParameters(
      {reinterpret_cast<const uint8_t*>(blob.data()), blob.size()},
      adapter.layout.size());
  const size_t controls =
      UsesControls(plan) ? UpdateLayout(plan, 0)->size() : 0;
  ParameterVector own_control(controls), server_control(controls);
  const double way = ControlWay(plan.train());
  for (uint32_t round = 0; round < plan.rounds().count(); ++round) {
    const StopToken stop{false};
    const ParameterVector correction =
        ControlCorrection(server_control, own_control);
    TrainConfig config =
        TrainConfigOf(plan, round, {DataName(file.data), data.train->size()});
    config.correction = correction;
    auto result = trainer.Train(adapter, *data.train, config, nullptr, stop,
                                [](const TrainProgress&) {});
    EXPECT_TRUE(result.ok()) << result.status();
    result->delta = TakeSent(plan, round, std::move(result->delta), adapter);
    const auto mean = *MakeWeightedMean({.coordinates = result->delta.size(),
                                         .bound = plan.rounds().clear_bound(),
                                         .weight_cap = 1024,
                                         .max_updates = 1});
    EXPECT_TRUE(
        mean->Accumulate(result->delta, WeightOf(plan, data.train->size()))
            .ok());
    ParameterVector next = Gather(adapter.values, *UpdateRanges(plan, round));
    const ParameterVector step = mean->Finish()->mean;
    if (controls > 0) {
      own_control = NextOwnControl(correction, result->delta, way);
      server_control = NextServerControl(server_control, step, {.way = way});
    }
    for (size_t i = 0; i < step.size(); ++i) next[i] += step[i];
    Scatter(next, *UpdateRanges(plan, round), adapter.values);
  }
  return adapter.values;
}

}  // namespace edgetune::testing
