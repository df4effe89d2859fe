#include "tests/server/test_server.h"

#include <cmath>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

absl::Status FailingDatabase::Run(
    const std::function<absl::Status(Transaction&)>& body) {
  const bool fails = count++ == fail_at;
  if (fails && moment == Moment::kBefore) {
    return absl::InternalError("killed before the commit");
  }
  if (before_commit) before_commit();
  EDGETUNE_RETURN_IF_ERROR(real_->Run(body));
  return fails ? absl::InternalError("killed after the commit")
               : absl::OkStatus();
}

TestServer::TestServer()
    : clock_(absl::FromUnixMillis(1'700'000'600'000)),
      release_key_(*SigningKey::Generate()),
      round_key_(*SigningKey::Generate()) {
  SetLogLevel(LogLevel::kError);
  EDGETUNE_CHECK(Open());
}

TestServer::~TestServer() = default;

void TestServer::CloseFiles() {
  Kill();
  failing_.reset();
  database_.reset();
  blobs_.reset();
}

bool TestServer::Open() {
  CloseFiles();
  dead_ = false;
  auto database =
      Database::Open(directory() + "/state.db", Coordinator::Migrations());
  auto blobs = BlobStore::Open(directory() + "/blobs");
  if (!database.ok() || !blobs.ok()) return false;
  database_ = *std::move(database);
  blobs_ = *std::move(blobs);
  failing_ = std::make_unique<FailingDatabase>(database_.get());
  Coordinator::Dependencies dependencies;
  dependencies.database = failing_.get();
  dependencies.blobs = blobs_.get();
  dependencies.clock = &clock_;
  dependencies.round_key = &round_key_;
  dependencies.trusted.release.push_back(release_key_.public_key());
  dependencies.trusted.round.push_back(round_key_.public_key());
  dependencies.fatal = [this](const absl::Status&) { dead_ = true; };
  auto made = Coordinator::Make(std::move(dependencies));
  if (!made.ok()) return false;
  coordinator_ = *std::move(made);
  if (roster != nullptr) coordinator_->SetRoster(roster);
  return true;
}

Digest TestServer::PutBlob(const std::string& bytes) {
  return *blobs_->Put(AsBytes(bytes));
}

v1::TaskPlan TestServer::MakePlan(const std::string& name) {
  v1::TaskPlan plan = ValidPlan();
  plan.set_name(name);
  const std::string base(1000, 'b');
  v1::FilePart& part = *plan.mutable_model()->mutable_parts(0);
  part.set_size(base.size());
  part.set_sha256(DigestBytes(PutBlob(base)));
  plan.mutable_model()->set_digest(Sha256Bytes(CanonicalBaseEncoding({part})));
  ParameterVector adapter(kTestCoordinates);
  for (size_t i = 0; i < adapter.size(); ++i) adapter[i] = 0.01f * i;
  plan.mutable_lora()->set_initial_digest(
      DigestBytes(PutBlob(SerializeParameters(adapter))));
  return plan;
}

v1::Envelope TestServer::Sign(const v1::TaskPlan& plan) const {
  return *SignDocument(DocumentUse::kPlan, plan.SerializeAsString(),
                       release_key_);
}

std::string TestServer::Submit(const v1::TaskPlan& plan) {
  auto status = coordinator_->Submit(Sign(plan));
  EDGETUNE_CHECK(status.ok());
  return status->run_id();
}

v1::RunStatus TestServer::Show(const std::string& run_id) {
  return *coordinator_->Show(run_id);
}

std::string TestServer::AdapterBytes(const v1::RunStatus& status, int version) {
  const auto card = *ParseCard(status.cards(version).payload());
  const auto blob = *blobs_->Get(*DigestFromBytes(card.adapter_digest()));
  return std::string(blob->bytes().begin(), blob->bytes().end());
}

ParameterVector TestServer::Adapter(const v1::RunStatus& status, int version) {
  return *ParseParameters(AsBytes(AdapterBytes(status, version)),
                          kTestCoordinates);
}

bool TestServer::HasEvent(const std::string& run_id, const std::string& part) {
  const v1::RunStatus status = Show(run_id);
  for (const v1::RunEvent& event : status.events()) {
    if (event.text().find(part) != std::string::npos) return true;
  }
  return false;
}

std::vector<std::string> TestServer::StoredNames() {
  std::vector<std::string> names = *blobs_->ListPartials();
  const std::vector<Digest> blobs = *blobs_->List();
  for (const Digest& digest : blobs) names.push_back(ToHex(digest));
  return names;
}

void TestServer::Pass(absl::Duration time) {
  clock_.Advance(time);
  coordinator_->Step();
}

// --- devices

void FakeDevice::Arrive(const std::string& population) {
  population_ = population;
  channel_ = std::make_shared<FakeChannel>();
  seen_ = 0;
  auto connection = server_->coordinator().Connect(id_, channel_);
  EDGETUNE_CHECK(connection.ok());
  connection_ = *connection;
  Hello();
}

void FakeDevice::Hello() {
  v1::ClientMessage message;
  message.mutable_hello()->set_client_version("0.1.0");
  message.mutable_hello()->set_population(population_);
  if (manifest_.has_value()) *message.mutable_hello()->mutable_resume() = Key();
  Send(std::move(message));
}

void FakeDevice::Leave() { server_->coordinator().Disconnect(connection_); }

void FakeDevice::Send(v1::ClientMessage message) {
  server_->coordinator().Receive(connection_, std::move(message), [] {});
}

v1::SessionKey FakeDevice::Key() const {
  v1::SessionKey key;
  key.set_run_id(manifest_->plan_digest());
  key.set_round(manifest_->round());
  key.set_attempt(manifest_->attempt());
  return key;
}

ParameterVector FakeDevice::Update(uint32_t round, size_t coordinates) const {
  ParameterVector update(coordinates);
  for (size_t i = 0; i < update.size(); ++i) {
    update[i] = static_cast<float>(std::sin(i + 10.0 * number_ + 100 * round));
  }
  return update;
}

absl::Status FakeDevice::Upload(const std::string& bytes,
                                const Digest& digest) {
  v1::UploadKey key;
  *key.mutable_session() = Key();
  key.set_sha256(DigestBytes(digest));
  key.set_size(bytes.size());
  EDGETUNE_ASSIGN_OR_RETURN(const std::string name,
                            server_->coordinator().AuthorizeUpload(id_, key));
  if (server_->blobs().Has(digest)) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const uint64_t at,
                            server_->blobs().PartialSize(name));
  EDGETUNE_RETURN_IF_ERROR(server_->blobs().AppendPartial(
      name, at, AsBytes(bytes.substr(at)), bytes.size()));
  server_->coordinator().CountUpload(id_, bytes.size());
  return server_->blobs().FinishPartial(name, digest, bytes.size());
}

v1::Report FakeDevice::MakeReport() {
  v1::Report report;
  *report.mutable_session() = Key();
  report.set_nll_sum(2.0 * Weight());
  report.set_tokens(static_cast<uint64_t>(Weight()));
  if (manifest_->kind() == v1::RoundManifest::EVAL) return report;
  if (trains_twice) {
    const std::string first = SerializeParameters(
        Update(1000 + trainings_++, manifest_->coordinates()));
    (void)Upload(first, Sha256(first));
  }
  const std::string bytes =
      SerializeParameters(Update(manifest_->round(), manifest_->coordinates()));
  const Digest digest = Sha256(bytes);
  const absl::Status uploaded = Upload(bytes, digest);
  if (!uploaded.ok() && !server_->dead()) {
    LogError(id_ + " cannot upload: " + std::string(uploaded.message()));
  }
  EDGETUNE_CHECK(uploaded.ok() || server_->dead());
  report.set_update_digest(DigestBytes(digest));
  report.set_weight(Weight());
  if (amends) amends(report);
  return report;
}

void FakeDevice::SendReport(const v1::Report& report) {
  v1::ClientMessage message;
  *message.mutable_report() = report;
  Send(std::move(message));
}

bool FakeDevice::Work() {
  if (channel_ == nullptr || seen_ == channel_->messages.size()) return false;
  const v1::ServerMessage message = channel_->messages[seen_++];
  if (message.has_come_back()) ++come_backs;
  if (message.has_outcome()) {
    outcomes.push_back(message.outcome());
    manifest_.reset();
    Hello();
  }
  if (message.has_assignment()) {
    manifest_ = *ParseManifest(message.assignment().manifest().payload());
    if (works && silent_at != manifest_->round()) SendReport(MakeReport());
  }
  return true;
}

std::vector<std::unique_ptr<FakeDevice>> MakeFleet(TestServer* server,
                                                   int count) {
  std::vector<std::unique_ptr<FakeDevice>> fleet;
  for (int i = 1; i <= count; ++i) {
    fleet.push_back(
        std::make_unique<FakeDevice>(server, "d" + std::to_string(i), i));
    fleet.back()->Arrive();
  }
  return fleet;
}

bool RunUntil(TestServer& server,
              std::vector<std::unique_ptr<FakeDevice>>& fleet,
              const std::function<bool()>& done) {
  for (int i = 0; i < 2000; ++i) {
    server.coordinator().Step();
    if (server.dead()) return false;
    if (done()) return true;
    bool moved = false;
    for (auto& device : fleet) {
      if (!device->Work()) continue;
      moved = true;
      server.coordinator().Step();  // a batch for each: more to crash in
    }
    if (moved) continue;
    const absl::Time next = server.coordinator().NextTimer();
    if (next == absl::InfiniteFuture()) return false;
    if (next > server.clock().Now()) {
      server.clock().Advance(next - server.clock().Now());
    }
  }
  return false;
}

bool RunToEnd(TestServer& server,
              std::vector<std::unique_ptr<FakeDevice>>& fleet,
              const std::string& run_id) {
  return RunUntil(server, fleet,
                  [&] { return server.Show(run_id).ended_ms() != 0; });
}

}  // namespace edgetune
