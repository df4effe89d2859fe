#include "tests/server/masked_fleet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "privacy/secagg/encoding.h"
#include "protos/masking.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"

namespace edgetune {
namespace {

SigningKey MakeKey(uint32_t seed) {
  RecordedRandom random(seed);
  return *SigningKey::Generate(random);
}

void MaskPlan(const MaskedFleet::Options& options, v1::TaskPlan& plan) {
  const auto devices = static_cast<uint32_t>(options.devices);
  plan.mutable_rounds()->set_count(1);
  plan.mutable_rounds()->set_cohort(devices);
  plan.mutable_rounds()->set_quorum(
      std::max(options.quorum, SecAggThreshold(devices)));
  plan.mutable_rounds()->set_attempts(4);
  v1::SecAggSpec& secagg = *plan.mutable_secagg();
  secagg.set_enabled(true);
  secagg.set_n_min(4);
  // Coarse steps: a sum that is off by one shows in a float.
  secagg.set_bits(16);
  secagg.set_bound(0.25);
  secagg.set_group(options.group);
  secagg.set_max_contributions(1);
}

}  // namespace

int64_t Stride(int64_t points, int64_t in_short, int64_t in_long) {
  const char* wanted = std::getenv("EDGETUNE_LONG");
  const bool is_long = wanted != nullptr && std::string_view(wanted) == "1";
  return std::max<int64_t>(1, points / (is_long ? in_long : in_short));
}

void FlipByte(const std::string& path, uint64_t at, int bit) {
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  ASSERT_GE(byte, 0);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ (1 << bit)));
}

MaskedFleet::MaskedFleet(uint32_t seed, const Options& options)
    : seed_(seed),
      script_(static_cast<Script>(seed % kScripts)),
      authority_(MakeKey(seed * 100 + 99)),
      order_(seed) {
  trusted_.release = {server.release_key().public_key()};
  trusted_.round = {server.round_key().public_key()};
  trusted_.roster = {authority_.public_key()};
  MakeDevices(seed, options.devices);
  MakeRoster();
  EDGETUNE_CHECK(server.Open());
  plan = server.MakePlan();
  MaskPlan(options, plan);
  envelope = server.Sign(plan);
  run_id = Sha256Bytes(envelope.payload());
}

void MaskedFleet::MakeDevices(uint32_t seed, int count) {
  for (int i = 0; i < count; ++i) {
    identities_.push_back(MakeKey(seed * 100 + static_cast<uint32_t>(i)));
  }
  for (int i = 0; i < count; ++i) {
    devices.push_back(std::make_unique<MaskedDevice>(
        MaskedDevice::Options{.server = &server,
                              .id = "d" + std::to_string(i),
                              .number = i,
                              .seed = seed * 1000 + static_cast<uint32_t>(i),
                              .identity = &identities_[static_cast<size_t>(i)],
                              .trusted = trusted_}));
    devices.back()->server_gone = [this] { return ServerGone(); };
  }
  MaskedDevice& one = *devices[seed / kScripts % devices.size()];
  MaskedDevice& other = *devices[(seed / kScripts + 1) % devices.size()];
  switch (script_) {
    case Script::kNobody:
      return;
    case Script::kBeforeUpload:
      one.leaves = Leaves::kBeforeUpload;
      return;
    case Script::kBeforeKeysAndAfter:
      one.leaves = Leaves::kBeforeKeys;
      other.leaves = Leaves::kAfterInput;
      return;
    case Script::kBeforeAck:
      one.leaves = Leaves::kBeforeAck;
      return;
    case Script::kBeforeUnmask:
      one.leaves = Leaves::kBeforeUnmask;
      return;
  }
}

void MaskedFleet::MakeRoster() {
  std::vector<v1::RosterEntry> entries;
  for (size_t i = 0; i < devices.size(); ++i) {
    entries.push_back(MakeRosterEntry(devices[i]->id(),
                                      identities_[i].public_key().raw(),
                                      server.clock().Now()));
  }
  std::ranges::sort(entries, {}, &v1::RosterEntry::client_id);
  Roster roster = *Roster::Make(std::move(entries));
  v1::RosterHead head;
  head.mutable_header()->set_version(1);
  head.mutable_header()->set_issued_ms(
      absl::ToUnixMillis(server.clock().Now()));
  head.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(server.clock().Now() + absl::Hours(24 * 365)));
  head.set_version(
      server.roster == nullptr ? 1 : server.roster->head.version() + 1);
  head.set_leaf_count(roster.entries().size());
  head.set_root(DigestBytes(roster.root()));
  server.roster = std::make_shared<PublishedRoster>(PublishedRoster{
      *SignDocument(DocumentUse::kRoster, head.SerializeAsString(), authority_),
      head, std::move(roster)});
}

// --- running

void MaskedFleet::Submit() {
  (void)server.coordinator().Submit(envelope);
  if (ServerGone()) return;
  for (auto& device : devices) device->Start();
}

bool MaskedFleet::ServerGone() const {
  return server.dead() || (faults != nullptr && faults->killed());
}

// Lets somebody who has something to do take one step; false: nobody has.
bool MaskedFleet::WorkOne() {
  std::vector<size_t> turns(devices.size());
  for (size_t i = 0; i < turns.size(); ++i) turns[i] = i;
  order_.Shuffle(turns);
  return std::ranges::any_of(turns,
                             [&](size_t i) { return devices[i]->Work(); });
}

// In one script a device is back before its loss is noticed; in the others
// when the round that it left is over.
bool MaskedFleet::ReviveSomebody() {
  const bool later = status().rounds_done() > 0 || status().attempt() > 0;
  for (auto& device : devices) {
    if (device->alive() || !(later || script_ == Script::kBeforeAck)) continue;
    device->Start();
    return true;
  }
  return false;
}

bool MaskedFleet::RunUntil(const std::function<bool()>& done) {
  for (int i = 0; i < 20'000; ++i) {
    server.coordinator().Step();
    if (ServerGone()) return false;
    if (done()) return true;
    if (WorkOne()) {
      if (ServerGone()) return false;
      continue;
    }
    if (ReviveSomebody()) continue;
    const absl::Time next = server.coordinator().NextTimer();
    if (next == absl::InfiniteFuture()) return false;
    if (next > server.clock().Now()) {
      server.clock().Advance(next - server.clock().Now());
    }
  }
  return false;
}

bool MaskedFleet::Run() {
  while (true) {
    const bool there = RunUntil([this] {
      return IsOver() ||
             status().state() == v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
    });
    if (!there || IsOver()) return there;
    SignOverride();
    if (ServerGone()) return false;
  }
}

void MaskedFleet::SignOverride() {
  v1::SpentOverride document;
  const absl::Time now = server.clock().Now();
  document.mutable_header()->set_version(1);
  document.mutable_header()->set_issued_ms(absl::ToUnixMillis(now));
  document.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(now + absl::Hours(24)));
  document.set_plan_digest(run_id);
  const v1::RunStatus shown = status();
  const v1::Envelope& newest = shown.cards(shown.cards_size() - 1);
  document.set_adapter_digest(ParseCard(newest.payload())->adapter_digest());
  document.set_extra(++overrides);
  (void)server.coordinator().Override(
      *SignDocument(DocumentUse::kOverride, document.SerializeAsString(),
                    server.release_key()));
}

bool MaskedFleet::Restart() {
  if (!server.Open()) return false;
  // Asked again: the answer may have been lost.
  if (!server.coordinator().Submit(envelope).ok() || ServerGone()) return false;
  for (auto& device : devices) {
    if (device->left && !device->alive()) continue;
    device->alive() ? device->Reconnect() : device->Start();
  }
  return true;
}

std::string MaskedFleet::Phase() { return status().phase(); }

void MaskedFleet::StopIn(const std::string& phase, int64_t steps) {
  // For its quick syncs.
  const testing::FileFaults faults({.directory = server.directory()});
  Submit();
  int64_t left = steps;
  ASSERT_TRUE(RunUntil([&] { return Phase() == phase && left-- == 0; }))
      << phase << " " << steps;
}

std::string MaskedFleet::Finish() {
  const testing::FileFaults quick({.directory = server.directory()});
  if (!server.is_open() || server.dead() || !IsOver()) {
    if (!Restart()) return "does not start again";
    if (!Run()) return "does not end: " + status().ShortDebugString();
  }
  if (!server.Open()) return "does not start after its end";
  return BrokenInvariant();
}

std::vector<std::string> MaskedFleet::MaskedBlobs() {
  std::vector<std::string> paths;
  for (const auto& device : devices) {
    for (const auto& [session, record] : device->sessions) {
      if (record.masked.empty()) continue;
      const std::string path =
          server.directory() + "/blobs/blobs/" + ToHex(Sha256(record.masked));
      if (std::filesystem::exists(path)) paths.push_back(path);
    }
  }
  return paths;
}

void MaskedFleet::Change(const std::string& sql, const Row& arguments) {
  auto database = Database::Open(server.directory() + "/state.db",
                                 Coordinator::Migrations());
  EDGETUNE_CHECK(database.ok());
  EDGETUNE_CHECK((*database)
                     ->Run([&](Transaction& transaction) {
                       return transaction.Execute(sql.c_str(), arguments);
                     })
                     .ok());
}

void MaskedFleet::NoteFreeze() {
  auto database = Database::Open(server.directory() + "/state.db",
                                 Coordinator::Migrations());
  EDGETUNE_CHECK(database.ok());
  EDGETUNE_CHECK(
      (*database)
          ->Run([&](Transaction& transaction) {
            auto stored = LoadMasking(transaction, run_id);
            EDGETUNE_RETURN_IF_ERROR(stored.status());
            for (const StoredGroup& group : stored->groups) {
              for (const auto& record : group.records) {
                v1::SecAggServerMessage message;
                if (record.kind ==
                        secagg::SecAggServer::Record::Kind::kTransition &&
                    message.ParseFromString(record.bytes) &&
                    message.has_freeze()) {
                  frozen_[message.freeze().session()] = message.freeze().u3();
                }
              }
            }
            return absl::OkStatus();
          })
          .ok());
}

}  // namespace edgetune
