#include "tests/secagg/tls_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "client/status_file.h"
#include "models/io/adapter/adapter_file.h"
#include "protos/plan_check.h"

namespace edgetune::testing {
namespace {

bool HasEnded(const v1::RunStatus& status) {
  return status.state() == v1::RunStatus::FINISHED ||
         status.state() == v1::RunStatus::FAILED ||
         status.state() == v1::RunStatus::STOPPED;
}

// What a sum of one unmasked vector gives, signed.
int64_t Lifted(uint32_t lane, uint32_t bits) {
  const int64_t value = lane & ((uint64_t{1} << bits) - 1);
  return value >> (bits - 1) != 0 ? value - (int64_t{1} << bits) : value;
}

}  // namespace

TlsWorld::TlsWorld(uint32_t size)
    : fleet({.size = size}), run(MakeTestRun(scratch.path(), size)) {
  Mask(run.plan);
  run.plan.mutable_secagg()->set_bits(16);
  v1::RoundsSpec& rounds = *run.plan.mutable_rounds();
  rounds.set_weights("equal");
  rounds.set_select_timeout_ms(1000);
  rounds.set_reconnect_grace_ms(50);
  blobs_ = BlobStore::Open(scratch.File("blobs")).value();
  EDGETUNE_CHECK(blobs_->PutFile(run.model_path).ok());
  EDGETUNE_CHECK(blobs_->Put(AsBytes(run.adapter_blob)).ok());
  StartServer();
  PublishRoster({});
  for (uint32_t i = 0; i < size; ++i) {
    devices_.push_back(std::make_unique<ScriptedDevice>(fleet, i, address()));
  }
}

TlsWorld::~TlsWorld() {
  for (auto& device : devices_) device->Stop();
  clients_.clear();
  StopServer();
}

void TlsWorld::StartServer() {
  database_ =
      Database::Open(scratch.File("server.db"), Coordinator::Migrations())
          .value();
  coordinator_ = Coordinator::Make({.database = database_.get(),
                                    .blobs = blobs_.get(),
                                    .clock = &clock_,
                                    .round_key = &fleet.keys.round,
                                    .trusted = fleet.keys.trusted})
                     .value();
  if (roster_ != nullptr) coordinator_->SetRoster(roster_);
  coordinator_->Start();
  rpc_ = RpcServer::Start(address(), fleet.server_kit, coordinator_.get(),
                          blobs_.get())
             .value();
  port_ = rpc_->port();
}

void TlsWorld::StopServer() {
  if (rpc_ != nullptr) rpc_->Shutdown();
  rpc_.reset();
  if (coordinator_ != nullptr) coordinator_->Stop();
  coordinator_.reset();
  database_.reset();
}

void TlsWorld::RestartServer() {
  StopServer();
  StartServer();
}

void TlsWorld::PublishRoster(const std::set<uint32_t>& revoked) {
  std::vector<v1::RosterEntry> entries = fleet.roster.entries();
  for (const uint32_t index : revoked) {
    entries[index].set_status(v1::RosterEntry::REVOKED);
  }
  Roster roster = Roster::Make(std::move(entries)).value();
  v1::RosterHead head = fleet.MakeHead();
  head.set_version(roster_ == nullptr ? 1 : roster_->head.version() + 1);
  head.set_root(DigestBytes(roster.root()));
  roster_ = std::make_shared<PublishedRoster>(PublishedRoster{
      SignDocument(DocumentUse::kRoster, head.SerializeAsString(),
                   fleet.keys.authority)
          .value(),
      head, std::move(roster)});
  coordinator_->SetRoster(roster_);
}

RealClient& TlsWorld::UseRealClient(uint32_t index) {
  const TlsFleet::Member& member = fleet.members[index];
  clients_[index] = std::make_unique<RealClient>(
      RealClient::Party{member.kit, fleet.keys.trusted, &member.identity},
      address(), scratch.File(member.name));
  return *clients_[index];
}

void TlsWorld::Submit() {
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    clients_.contains(i) ? clients_[i]->Start() : devices_[i]->Start();
  }
  for (uint32_t i = 0; i < devices_.size(); ++i) {
    if (!clients_.contains(i)) {
      ASSERT_TRUE(devices_[i]->WaitIdle());
      continue;
    }
    // What it was told when there was nothing for it shows in its status.
    const std::string state = scratch.File(fleet.members[i].name);
    const auto knows = [&] {
      const auto status = ReadDeviceStatus(state);
      return status.ok() &&
             status->detail.find("no run wants") != std::string::npos;
    };
    while (!knows()) absl::SleepFor(absl::Milliseconds(5));
  }
  run_id_ =
      coordinator_->Submit(SignedPlan(run.plan, fleet.keys)).value().run_id();
}

v1::RunStatus TlsWorld::Status() { return coordinator_->Show(run_id_).value(); }

v1::RunStatus TlsWorld::WaitUntil(
    const std::function<bool(const v1::RunStatus&)>& condition) {
  const absl::Time limit = absl::Now() + absl::Minutes(1);
  while (true) {
    v1::RunStatus status = Status();
    if (condition(status)) return status;
    if (HasEnded(status) || absl::Now() > limit) {
      ADD_FAILURE() << "the run never got there: " << status.DebugString();
      return status;
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
}

bool TlsWorld::WaitEvent(const std::string& text) {
  WaitUntil([&](const v1::RunStatus&) { return CountEvents(text) > 0; });
  return !::testing::Test::HasFailure();
}

size_t TlsWorld::CountEvents(const std::string& text) {
  const v1::RunStatus status = Status();
  return std::ranges::count_if(status.events(), [&](const auto& event) {
    return event.text().find(text) != std::string::npos;
  });
}

v1::RoundReceipt TlsWorld::WaitReceipt(int round) {
  const v1::RunStatus status = WaitUntil(
      [&](const v1::RunStatus& s) { return s.receipts_size() > round; });
  v1::RoundReceipt receipt;
  if (status.receipts_size() <= round) return receipt;
  const auto blob =
      blobs_->Get(DigestFromBytes(status.receipts(round)).value()).value();
  v1::Envelope envelope;
  EXPECT_TRUE(envelope.ParseFromArray(blob->bytes().data(),
                                      static_cast<int>(blob->bytes().size())));
  EXPECT_TRUE(
      VerifyDocument(DocumentUse::kReceipt, envelope, fleet.keys.trusted).ok());
  EXPECT_TRUE(receipt.ParseFromString(envelope.payload()));
  return receipt;
}

uint32_t TlsWorld::ScoreOf(uint32_t index) {
  const v1::RunStatus status = Status();
  for (const v1::BlameScore& score : status.scores()) {
    if (score.device_id() == fleet.members[index].name) return score.points();
  }
  return 0;
}

ParameterVector TlsWorld::Adapter(uint32_t version) {
  const v1::ModelCard card =
      ParseCard(Status().cards(static_cast<int>(version)).payload()).value();
  const auto blob =
      blobs_->Get(DigestFromBytes(card.adapter_digest()).value()).value();
  return ParseParameters(blob->bytes(), AdapterLayout(run.plan)->size())
      .value();
}

void TlsWorld::ExpectAdapterIsMeanOf(const std::vector<uint32_t>& indices) {
  const MaskedShape shape =
      MaskedShapeOf(run.plan, 0, v1::RoundManifest::TRAIN).value();
  ASSERT_GT(Status().cards_size(), 1);
  const ParameterVector before = Adapter(0), after = Adapter(1);
  const size_t first = shape.size() - shape.coordinates;
  // A step of the ring, shared by all, is far above float's rounding.
  const double step =
      1 / shape.ScaleOf(shape.bound) / static_cast<double>(indices.size());
  std::vector<int64_t> sums(shape.coordinates);
  for (const uint32_t index : indices) {
    const secagg::RingVector input = devices_[index]->InputOf(0);
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += Lifted(input[first + i], shape.bits);
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    ASSERT_NEAR(after[i], before[i] + sums[i] * step, step / 10) << i;
  }
}

std::vector<Row> TlsWorld::Rows(const char* sql) {
  std::vector<Row> rows;
  EXPECT_TRUE(database_
                  ->Run([&](Transaction& transaction) -> absl::Status {
                    EDGETUNE_ASSIGN_OR_RETURN(rows, transaction.Query(sql));
                    return absl::OkStatus();
                  })
                  .ok());
  return rows;
}

}  // namespace edgetune::testing
