#include "server/masked_round.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/status.h"
#include "privacy/secagg/encoding.h"

namespace edgetune {

using secagg::SecAggServer;
using Phase = SecAggServer::Phase;
using SecAggAction = SecAggServer::Action::Kind;

namespace {

// Orders members so that an attempt's groups depend on its manifest alone.
Digest PlaceOf(const Digest& manifest, const v1::CohortEntry& entry) {
  std::string bytes(manifest.begin(), manifest.end());
  return Sha256(bytes + entry.client_id());
}

std::vector<std::vector<v1::CohortEntry>> CutIntoGroups(
    const Digest& manifest, std::vector<v1::CohortEntry> entries,
    size_t largest) {
  std::sort(entries.begin(), entries.end(),
            [&](const v1::CohortEntry& a, const v1::CohortEntry& b) {
              return PlaceOf(manifest, a) < PlaceOf(manifest, b);
            });
  const size_t count = (entries.size() + largest - 1) / largest;
  std::vector<std::vector<v1::CohortEntry>> groups(count);
  for (size_t i = 0; i < entries.size(); ++i) {
    groups[i % count].push_back(std::move(entries[i]));
  }
  for (auto& group : groups) {
    std::sort(group.begin(), group.end(),
              [](const v1::CohortEntry& a, const v1::CohortEntry& b) {
                return a.client_id() < b.client_id();
              });
  }
  return groups;
}

// Whether this record, or one before it, let vectors leave their devices. An
// abort may come at any time.
bool AsksForInput(const SecAggServer::Record& record) {
  return record.phase >= Phase::kInput && record.phase != Phase::kAborted;
}

// For people; details of refusals name their code already.
std::string Coded(const SecAggServer::Action& action) {
  const std::string& code = v1::AbortCode_Name(action.code);
  return action.detail.starts_with(code)
             ? action.detail
             : fmt::format("{}: {}", code, action.detail);
}

int Threads() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

SecAggServer::Options MaskedRound::ServerOptions() const {
  SecAggServer::Options options;
  options.manifest = options_.manifest;
  options.shape = options_.shape;
  options.deadlines = options_.deadlines;
  options.round_key = options_.round_key;
  return options;
}

absl::StatusOr<MaskedRound> MaskedRound::Begin(
    Options options, const std::map<std::string, v1::CohortEntry>& keys,
    absl::Time now, Batch& batch) {
  MaskedRound round(std::move(options));
  round.keys_ = keys;
  std::vector<v1::CohortEntry> entries;
  for (const auto& [device, entry] : keys) entries.push_back(entry);
  for (auto& group : CutIntoGroups(round.options_.manifest, std::move(entries),
                                   round.options_.group)) {
    SaveGroup(round.options_.id, round.groups_.size(), group, batch);
    EDGETUNE_RETURN_IF_ERROR(round.Open(std::move(group), now, batch));
  }
  return round;
}

absl::StatusOr<MaskedRound> MaskedRound::Restore(
    Options options, const std::map<std::string, v1::CohortEntry>& keys,
    std::vector<StoredGroup> groups, absl::Time now, Batch& batch) {
  MaskedRound round(std::move(options));
  round.keys_ = keys;
  for (StoredGroup& group : groups) {
    EDGETUNE_RETURN_IF_ERROR(round.Reopen(std::move(group), now, batch));
  }
  for (auto& [device, place] : round.places_) {
    place.lost_at = now + round.options_.reconnect_grace;
  }
  return round;
}

MaskedRound::Group& MaskedRound::AddGroup(
    const std::vector<v1::CohortEntry>& cohort,
    const std::map<std::string, v1::CohortEntry>& keys) {
  std::map<std::string_view, std::string> names;
  for (const auto& [device, entry] : keys) names[entry.client_id()] = device;
  Group& group = groups_.emplace_back();
  group.sum.emplace(options_.shape);
  for (uint32_t i = 0; i < cohort.size(); ++i) {
    const std::string& device = names[cohort[i].client_id()];
    group.devices.push_back(device);
    places_[device] = {groups_.size() - 1, i};
  }
  return group;
}

absl::Status MaskedRound::Open(std::vector<v1::CohortEntry> cohort,
                               absl::Time now, Batch& batch) {
  Group& group = AddGroup(cohort, keys_);
  SecAggServer::Actions actions;
  EDGETUNE_ASSIGN_OR_RETURN(
      group.server,
      SecAggServer::Begin(ServerOptions(), std::move(cohort), actions));
  Perform(groups_.size() - 1, std::move(actions), now, batch);
  return batch.failure;
}

absl::Status MaskedRound::Reopen(StoredGroup stored, absl::Time now,
                                 Batch& batch) {
  Group& group = AddGroup(stored.cohort, keys_);
  group.records = stored.next_number;
  const bool frozen = std::any_of(
      stored.records.begin(), stored.records.end(),
      [](const auto& record) { return record.phase >= Phase::kSurvivors; });
  for (const auto& record : stored.records) {
    group.opened = group.opened || AsksForInput(record);
  }
  SecAggServer::Actions actions;
  auto server = SecAggServer::Restore(ServerOptions(), std::move(stored.cohort),
                                      stored.records, actions);
  if (!server.ok()) {
    if (!absl::IsDataLoss(server.status())) return server.status();
    group.failure = std::string(server.status().message());
    group.sum.reset();
    notes_.push_back(
        {"a masking session cannot be restored: " + group.failure, true});
    return absl::OkStatus();
  }
  group.server = *std::move(server);
  const size_t at = groups_.size() - 1;
  if (stored.damaged_end || (stored.damaged && frozen)) {
    Perform(at, group.server->Fail(v1::INTERNAL, "its records are damaged"),
            now, batch);
    return batch.failure;
  }
  Perform(at, std::move(actions), now, batch);
  return batch.failure;
}

// --- events

const MaskedRound::Place* MaskedRound::Find(const std::string& device) const {
  auto it = places_.find(device);
  if (it == places_.end()) return nullptr;
  return IsGroupOver(groups_[it->second.group]) ? nullptr : &it->second;
}

void MaskedRound::Handle(const std::string& device,
                         const v1::SecAggClientMessage& message, absl::Time now,
                         Batch& batch) {
  const Place* place = Find(device);
  if (place == nullptr) return;
  Server& server = *groups_[place->group].server;
  if (message.has_input() && ExpectsInput(device)) {
    const absl::Status form = CheckForm(message.input());
    // Other errors are the disk's: folding meets them again.
    if (absl::IsInvalidArgument(form)) {
      NoteUnreadable(device, form);
      return Perform(place->group, server.Unusable(place->index, now), now,
                     batch);
    }
  }
  Perform(place->group, server.Handle(place->index, message, now), now, batch);
}

// Here and not when it is folded: the last vector of a session closes the
// phase, and a liar's must not be among the survivors then.
absl::Status MaskedRound::CheckForm(const v1::MaskedInput& input) const {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(input.digest()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blob, options_.blobs->Get(digest));
  return secagg::CheckPacked(options_.shape, blob->bytes());
}

void MaskedRound::NoteUnreadable(const std::string& device,
                                 const absl::Status& why) {
  notes_.push_back({fmt::format("the masked update of {} cannot be read: {}",
                                device, std::string(why.message())),
                    true});
}

void MaskedRound::Lost(const std::string& device, absl::Time now,
                       Batch& batch) {
  const Place* place = Find(device);
  if (place == nullptr) return;
  const size_t at = place->group;
  if (groups_[at].server->Awaits(place->index)) {
    notes_.push_back({fmt::format("{} lost while masking ({})", device,
                                  PhaseName(groups_[at].server->phase())),
                      true});
  }
  Perform(at, groups_[at].server->Lost(place->index, now), now, batch);
}

void MaskedRound::StreamUp(const std::string& device, Batch& batch) {
  auto it = places_.find(device);
  if (it == places_.end() || Find(device) == nullptr) return;
  it->second.lost_at = absl::InfiniteFuture();
  const Server& server = *groups_[it->second.group].server;
  for (const auto& action : server.Resend(it->second.index)) {
    if (action.kind == SecAggAction::kSend) {
      SendTo(device, *action.message, batch);
    }
  }
}

void MaskedRound::StreamDown(const std::string& device, absl::Time now) {
  auto it = places_.find(device);
  if (it == places_.end()) return;
  it->second.lost_at = now + options_.reconnect_grace;
}

void MaskedRound::Timer(absl::Time now, Batch& batch) {
  for (auto& [device, place] : places_) {
    if (now < place.lost_at) continue;
    place.lost_at = absl::InfiniteFuture();
    Lost(device, now, batch);
  }
  for (size_t at = 0; at < groups_.size(); ++at) {
    if (IsGroupOver(groups_[at])) continue;
    Perform(at, groups_[at].server->Timer(now), now, batch);
  }
}

absl::Time MaskedRound::NextTimer() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Group& group : groups_) {
    if (!IsGroupOver(group)) next = std::min(next, group.server->NextTimer());
  }
  for (const auto& [device, place] : places_) {
    if (Find(device) != nullptr) next = std::min(next, place.lost_at);
  }
  return next;
}

void MaskedRound::Stop(const std::string& why, absl::Time now, Batch& batch) {
  for (size_t at = 0; at < groups_.size(); ++at) {
    if (IsGroupOver(groups_[at])) continue;
    Perform(at, groups_[at].server->Fail(v1::DEADLINE, why), now, batch);
  }
}

// --- what sessions ask for

void MaskedRound::Perform(size_t at, Server::Actions actions, absl::Time now,
                          Batch& batch) {
  for (Server::Action& action : actions) {
    Group& group = groups_[at];
    const auto device = [&](uint32_t index) -> const std::string& {
      return group.devices[index];
    };
    switch (action.kind) {
      case SecAggAction::kRecord:
        // The sum is in memory only: until the round commits, a restart has to
        // ask for the shares again.
        if (action.record.phase == Phase::kDone) break;
        group.opened = group.opened || AsksForInput(action.record);
        TellPhase(at, action.record);
        SaveRecord(options_.id, static_cast<uint32_t>(at), group.records++,
                   action.record, batch);
        break;
      case SecAggAction::kSend:
        SendTo(device(action.index), *action.message, batch);
        break;
      case SecAggAction::kLeft:
        notes_.push_back(
            {fmt::format("{} left the masking session: {}",
                         device(action.index), v1::AbortCode_Name(action.code)),
             true});
        break;
      case SecAggAction::kRefuse:
        if (!action.document.empty()) {
          SaveEvidence(options_.id.run_id, device(action.index),
                       action.document, batch);
        }
        notes_.push_back({fmt::format("refused a masking message of {}: {}",
                                      device(action.index), Coded(action)),
                          true});
        break;
      case SecAggAction::kFold:
        Fold(at, action, now, batch);
        // A damaged upload ends a frozen session, its sum goes: what else was
        // to be done is not true any more.
        if (IsGroupOver(group)) return;
        break;
      case SecAggAction::kLate:
        notes_.push_back({fmt::format("the masked update of {} came too late",
                                      device(action.index)),
                          true});
        break;
      case SecAggAction::kBlame:
        for (const uint32_t index : {action.index, action.other}) {
          ++blame_[device(index)];
          if (group.server->phase() <= Phase::kAcks ||
              group.server->abort_code() == v1::BAD_SHARE) {
            benched_.insert(device(index));
          }
        }
        notes_.push_back(
            {fmt::format("a dispute between {} and {}: one point each",
                         device(action.index), device(action.other)),
             true});
        break;
      case SecAggAction::kUnmask:
        Unmask(at, action, now, batch);
        break;
      case SecAggAction::kAborted:
        group.failure = Coded(action);
        group.sum.reset();
        break;
    }
    if (!batch.failure.ok()) return;
  }
}

// The first phase opens with the session; who made the group says so.
void MaskedRound::TellPhase(size_t at, const Server::Record& record) {
  if (record.kind != Server::Record::Kind::kTransition ||
      record.phase <= Phase::kShares || record.phase > Phase::kUnmask) {
    return;
  }
  std::string text = fmt::format("masking: {}", PhaseName(record.phase));
  if (groups_.size() > 1) {
    text += fmt::format(" (group {} of {})", at + 1, groups_.size());
  }
  notes_.push_back({std::move(text)});
}

void MaskedRound::Fold(size_t at, const Server::Action& action, absl::Time now,
                       Batch& batch) {
  Group& group = groups_[at];
  EDGETUNE_CHECK(group.sum.has_value());
  auto blob = options_.blobs->Get(action.digest);
  absl::Status status = blob.status();
  // Also right after a restart, when the file system may have lost bytes.
  if (status.ok() && Sha256((*blob)->bytes()) != action.digest) {
    status = absl::DataLossError("its bytes are damaged");
  }
  if (status.ok()) status = group.sum->Add((*blob)->bytes());
  if (status.ok()) return;
  if (!absl::IsNotFound(status) && !absl::IsDataLoss(status) &&
      !absl::IsInvalidArgument(status)) {
    batch.failure = Prefix(status, "reading a masked update");
    return;
  }
  NoteUnreadable(group.devices[action.index], status);
  Perform(at, group.server->Unusable(action.index, now), now, batch);
}

void MaskedRound::Unmask(size_t at, const Server::Action& action,
                         absl::Time now, Batch& batch) {
  Group& group = groups_[at];
  auto sums = group.sum->Unmask(action.masks,
                                secagg::CanaryOf(options_.manifest), Threads());
  group.sum.reset();
  if (!sums.ok()) {
    const bool mismatch = absl::IsDataLoss(sums.status());
    return Perform(
        at,
        group.server->Fail(mismatch ? v1::MASK_MISMATCH : v1::INTERNAL,
                           std::string(sums.status().message())),
        now, batch);
  }
  if (sums_.empty()) sums_.resize(sums->size());
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += (*sums)[i];
  Perform(at, group.server->Finished(), now, batch);
}

void MaskedRound::SendTo(const std::string& device,
                         const v1::SecAggServerMessage& message,
                         Batch& batch) const {
  v1::ServerMessage out;
  v1::ServerSecAgg& secagg = *out.mutable_secagg();
  secagg.mutable_session()->set_run_id(options_.id.run_id);
  secagg.mutable_session()->set_round(options_.id.round);
  secagg.mutable_session()->set_attempt(options_.id.attempt);
  *secagg.mutable_message() = message;
  batch.messages.push_back({device, std::move(out)});
}

// --- state

bool MaskedRound::IsGroupOver(const Group& group) const {
  return !group.server.has_value() || group.server->phase() == Phase::kDone ||
         group.server->phase() == Phase::kAborted;
}

bool MaskedRound::IsOver() const {
  return std::all_of(groups_.begin(), groups_.end(),
                     [this](const Group& g) { return IsGroupOver(g); });
}

bool MaskedRound::Involves(const std::string& device) const {
  return Find(device) != nullptr;
}

bool MaskedRound::Awaits(const std::string& device) const {
  const Place* place = Find(device);
  return place != nullptr && groups_[place->group].server->Awaits(place->index);
}

bool MaskedRound::ExpectsInput(const std::string& device) const {
  const Place* place = Find(device);
  return place != nullptr && Awaits(device) &&
         groups_[place->group].server->phase() == Phase::kInput;
}

std::string MaskedRound::PhaseText() const {
  for (const Group& group : groups_) {
    if (!IsGroupOver(group)) {
      return fmt::format("masking: {}", PhaseName(group.server->phase()));
    }
  }
  return "masking";
}

std::set<std::string> MaskedRound::spent() const {
  std::set<std::string> found;
  for (const Group& group : groups_) {
    if (!group.opened) continue;
    found.insert(group.devices.begin(), group.devices.end());
  }
  return found;
}

std::set<std::string> MaskedRound::survivors() const {
  std::set<std::string> found;
  for (const Group& group : groups_) {
    if (!group.server.has_value() || group.server->phase() != Phase::kDone) {
      continue;
    }
    const std::vector<bool> members = group.server->survivors();
    for (size_t i = 0; i < members.size(); ++i) {
      if (members[i]) found.insert(group.devices[i]);
    }
  }
  return found;
}

std::vector<v1::GroupReceipt> MaskedRound::receipts() const {
  std::vector<v1::GroupReceipt> found;
  for (const Group& group : groups_) {
    if (group.server.has_value() && group.server->phase() == Phase::kDone) {
      found.push_back(group.server->Receipt());
    }
  }
  return found;
}

std::string MaskedRound::failure() const {
  std::string all;
  for (const Group& group : groups_) {
    if (group.failure.empty()) continue;
    all += (all.empty() ? "" : "; ") + group.failure;
  }
  return all;
}

}  // namespace edgetune
