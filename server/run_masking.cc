// What a Run does differently when its plan masks: keys instead of reports,
// masking sessions between training and the step, and what is spent.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/secagg/encoding.h"
#include "protos/plan_check.h"
#include "server/run.h"

namespace edgetune {

using EventKind = Round::Event::Kind;
using ClientState = Round::ClientState;

namespace {

// Of the time after the keys: shares, acks, input, survivors, unmasking.
constexpr double kPhaseEnds[] = {2.0 / 15, 4.0 / 15, 10.0 / 15, 12.0 / 15, 1};

absl::Time At(int64_t ms) { return absl::FromUnixMillis(ms); }

secagg::SecAggServer::Deadlines DeadlinesOf(const v1::MaskingTerms& terms) {
  return {At(terms.shares_by_ms()), At(terms.acks_by_ms()),
          At(terms.input_by_ms()), At(terms.survivors_by_ms()),
          At(terms.unmask_by_ms())};
}

}  // namespace

bool Run::Masks() const { return plan_.secagg().enabled(); }

v1::RoundManifest::Kind Run::Kind() const {
  return IsEvaluation() ? v1::RoundManifest::EVAL : v1::RoundManifest::TRAIN;
}

absl::StatusOr<MaskedShape> Run::Shape() const {
  return MaskedShapeOf(plan_, row_.round, Kind());
}

// --- who may take part

uint32_t Run::AllowedContributions() const {
  const std::string adapter = CurrentAdapter();
  uint32_t extra = 0;
  for (const v1::Envelope& envelope : masking_.overrides) {
    v1::SpentOverride document;
    if (document.ParseFromString(envelope.payload()) &&
        document.adapter_digest() == adapter) {
      extra = std::max(extra, document.extra());
    }
  }
  return plan_.secagg().max_contributions() + extra;
}

bool Run::IsSpent(const std::string& device) const {
  auto it = masking_.spent.find(device);
  return it != masking_.spent.end() && it->second >= AllowedContributions();
}

std::vector<std::string> Run::Maskable(std::vector<std::string> idle) {
  const auto roster = stores_.roster();
  held_back_ = 0;
  std::vector<std::string> found;
  for (std::string& device : idle) {
    if (roster == nullptr) break;
    const auto at = roster->roster.Find(ClientIdOf(device));
    if (!at.has_value() || !roster->roster.Member(*at).active) continue;
    if (IsSpent(device)) {
      ++held_back_;
    } else if (!benched_.count(device)) {
      found.push_back(std::move(device));
    }
  }
  return found;
}

// Nobody but devices that have contributed from this adapter already could
// make up a cohort.
bool Run::IsSpentOut(bool while_selecting) const {
  if (!Masks() || masking_.spent.empty()) return false;
  const size_t wanted =
      std::max(plan_.rounds().quorum(), plan_.secagg().n_min());
  if (while_selecting && held_back_ > 0) return true;
  const auto roster = stores_.roster();
  if (roster == nullptr) return false;
  size_t fresh = 0;
  for (const v1::RosterEntry& entry : roster->roster.entries()) {
    fresh +=
        entry.status() == v1::RosterEntry::ACTIVE && !IsSpent(entry.name());
  }
  return fresh < wanted;
}

void Run::Pause(const std::string& reason, absl::Time now, Batch& batch) {
  row_.state = v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
  row_.detail = fmt::format(
      "{}; {} devices have contributed from this adapter already and too few "
      "others are left",
      reason, masking_.spent.size());
  round_.reset();
  Say(now,
      fmt::format("paused: {}. `edgetune run override {} --kit KIT` lets them "
                  "contribute once more; `run stop` ends the run",
                  row_.detail, ShortId(id())),
      batch, true);
}

void Run::Override(const v1::Envelope& envelope, absl::Time now, Batch& batch) {
  for (const v1::Envelope& known : masking_.overrides) {
    if (known.payload() == envelope.payload()) return;
  }
  masking_.overrides.push_back(envelope);
  SaveOverride(id(), envelope, batch);
  Say(now,
      fmt::format("an override of the release key lets devices contribute up "
                  "to {} times from adapter {}",
                  AllowedContributions(), models_.current().number),
      batch);
  if (IsPaused()) GoOn(now);
}

void Run::OfferWhilePaused(std::vector<std::string> idle, absl::Time now,
                           Batch& batch) {
  const size_t fresh = Maskable(std::move(idle)).size();
  if (fresh < RoundOptions().quorum) return;
  Say(now,
      fmt::format("goes on: {} devices are here that have not contributed from "
                  "adapter {}",
                  fresh, models_.current().number),
      batch);
  GoOn(now);
}

void Run::GoOn(absl::Time now) {
  row_.state = v1::RunStatus::RUNNING;
  row_.detail.clear();
  row_.forgiven = row_.attempt;
  StartRound(now);
}

// --- the manifest

absl::Status Run::AddMaskingTerms(v1::RoundManifest& manifest) {
  roster_ = stores_.roster();
  v1::MaskingTerms& terms = *manifest.mutable_masking();
  terms.set_protocol_version(1);
  terms.set_roster_version(roster_->head.version());
  terms.set_roster_root(DigestBytes(roster_->roster.root()));
  terms.set_roster_leaves(roster_->roster.entries().size());
  EDGETUNE_ASSIGN_OR_RETURN(*terms.mutable_nonce(), SecureRandom(32));
  const int64_t keys_by = absl::ToUnixMillis(round_->deadline());
  const double rest = static_cast<double>(plan_.rounds().deadline_ms()) -
                      absl::ToDoubleMilliseconds(RoundOptions().deadline);
  int64_t ends[5];
  int64_t before = keys_by;
  for (int i = 0; i < 5; ++i) {
    // At least a millisecond each, as ParseManifest wants.
    ends[i] = std::max(before + 1,
                       keys_by + static_cast<int64_t>(rest * kPhaseEnds[i]));
    before = ends[i];
  }
  terms.set_keys_by_ms(keys_by);
  terms.set_shares_by_ms(ends[0]);
  terms.set_acks_by_ms(ends[1]);
  terms.set_input_by_ms(ends[2]);
  terms.set_survivors_by_ms(ends[3]);
  terms.set_unmask_by_ms(ends[4]);
  manifest.set_deadline_ms(ends[4]);
  return absl::OkStatus();
}

absl::StatusOr<MaskedRound::Options> Run::MaskedOptions() const {
  v1::RoundManifest manifest;
  if (!manifest.ParseFromString(manifest_.payload()) ||
      !manifest.has_masking()) {
    return absl::DataLossError("the round's manifest has no masking terms");
  }
  MaskedRound::Options options;
  options.id = {id(), row_.round, row_.attempt};
  options.manifest = secagg::ManifestDigest(manifest_.payload());
  EDGETUNE_ASSIGN_OR_RETURN(options.shape, Shape());
  options.deadlines = DeadlinesOf(manifest.masking());
  options.group = plan_.secagg().group();
  options.reconnect_grace =
      absl::Milliseconds(plan_.rounds().reconnect_grace_ms());
  options.round_key = round_key_;
  options.blobs = blobs_;
  return options;
}

void Run::AdoptRoster() {
  if (roster_ != nullptr || row_.manifest.empty()) return;
  const auto newest = stores_.roster();
  v1::RoundManifest manifest;
  if (newest != nullptr && manifest.ParseFromString(manifest_.payload()) &&
      manifest.masking().roster_root() == DigestBytes(newest->roster.root())) {
    roster_ = newest;
  }
}

// --- messages

bool Run::InMasking(const std::string& device) const {
  return round_.has_value() && masking_.keys.count(device) > 0 &&
         left_.count(device) == 0;
}

void Run::HandleSecAgg(const std::string& device,
                       const v1::ClientSecAgg& message, absl::Time now,
                       Batch& batch) {
  if (!IsCurrent(message.session()) || !HasOpen(device) || !Masks()) {
    return AnswerEnded(device, message.session(), batch);
  }
  const v1::SecAggClientMessage& body = message.message();
  if (body.has_advertise()) {
    return HandleAdvertise(device, body.advertise(), now, batch);
  }
  if (masked_ == nullptr || !masked_->Involves(device)) return;
  if (body.has_input() && !HasUpload(device, body.input(), now, batch)) return;
  masked_->Handle(device, body, now, batch);
  AfterMasked(now, batch);
}

bool Run::HasKeyOf(const v1::CohortEntry& entry) const {
  return std::ranges::any_of(masking_.keys, [&](const auto& known) {
    const auto& [device, other] = known;
    return entry.c_pk() == other.c_pk() || entry.c_pk() == other.s_pk() ||
           entry.s_pk() == other.c_pk() || entry.s_pk() == other.s_pk();
  });
}

void Run::HandleAdvertise(const std::string& device,
                          const v1::AdvertiseKeys& keys, absl::Time now,
                          Batch& batch) {
  auto known = masking_.keys.find(device);
  if (known != masking_.keys.end()) {
    // The same again is a client that came back; others stay refused.
    if (known->second.signature() == keys.signature()) return;
    return Say(now,
               fmt::format("{}: refused second keys of {}: REPLAY", RoundName(),
                           device),
               batch, true);
  }
  const ClientId client = ClientIdOf(device);
  absl::StatusOr<v1::CohortEntry> entry =
      absl::FailedPreconditionError("the roster changed since the round began");
  if (roster_ != nullptr) {
    const auto at = roster_->roster.Find(client);
    if (!at.has_value()) {
      entry = secagg::AbortError(v1::BAD_ROSTER, "not in the roster");
    } else {
      entry = secagg::CheckAdvertisement(
          secagg::ManifestDigest(manifest_.payload()),
          roster_->roster.Member(*at), roster_->roster.Prove(*at), keys);
    }
  }
  if (entry.ok() && HasKeyOf(*entry)) {
    entry = secagg::AbortError(v1::DUP_KEY, "a key of another member");
  }
  if (entry.ok()) {
    masking_.keys[device] = *entry;
    SaveKeys({id(), row_.round, row_.attempt}, device, *entry, batch);
  }
  Apply({EventKind::kReport, device, std::string(entry.status().message())},
        now, batch);
}

// The sum reads the blob, so it must be here, whole.
bool Run::HasUpload(const std::string& device, const v1::MaskedInput& input,
                    absl::Time now, Batch& batch) {
  const auto digest = DigestFromBytes(input.digest());
  const bool here =
      digest.ok() && blobs_->Size(*digest).value_or(0) == UpdateBytes();
  if (!here) {
    Say(now,
        fmt::format("{}: refused the masked update of {}: no upload of {} "
                    "bytes with the reported digest",
                    RoundName(), device, UpdateBytes()),
        batch, true);
    return false;
  }
  const SessionId key = IdOf(device);
  Session& session = sessions_[key];
  session.update_digest = input.digest();
  SaveSession(id(), key, session, batch);
  return true;
}

// --- sessions

void Run::BeginMasking(absl::Time now, Batch& batch) {
  const uint32_t n_min = plan_.secagg().n_min();
  std::map<std::string, v1::CohortEntry> keys = masking_.keys;
  for (const std::string& device : left_) keys.erase(device);
  if (keys.size() < n_min) {
    return Apply({EventKind::kStepFailed, "",
                  fmt::format("NOT_ENOUGH: {} clients sent keys, masking "
                              "wants {}",
                              keys.size(), n_min)},
                 now, batch);
  }
  Say(now, fmt::format("{}: masking with {} clients", RoundName(), keys.size()),
      batch);
  auto options = MaskedOptions();
  absl::Status status = options.status();
  if (status.ok()) {
    auto round = MaskedRound::Begin(*std::move(options), keys, now, batch);
    status = round.status();
    if (status.ok()) masked_ = std::make_unique<MaskedRound>(*std::move(round));
  }
  if (!status.ok()) {
    batch.failure = Prefix(status, "beginning a masking session");
    return;
  }
  for (const std::string& device : down_) masked_->StreamDown(device, now);
  AfterMasked(now, batch);
}

bool Run::LeaveIfMasking(const std::string& device, absl::Time now,
                         Batch& batch) {
  if (!InMasking(device)) return false;
  LeaveMasking(device, "it began anew and has no secrets any more", now, batch);
  return true;
}

void Run::LeaveMasking(const std::string& device, const std::string& why,
                       absl::Time now, Batch& batch) {
  left_.insert(device);
  const SessionId key = IdOf(device);
  Session& session = sessions_[key];
  session.state = ClientState::kLost;
  session.detail = why;
  SaveSession(id(), key, session, batch);
  SendOutcome(device, CurrentKey(), v1::Outcome::CANCELLED, why, batch);
  Say(now, fmt::format("{}: {} left: {}", RoundName(), device, why), batch,
      true);
  if (masked_ == nullptr) return;
  masked_->Lost(device, now, batch);
  AfterMasked(now, batch);
}

void Run::AfterMasked(absl::Time now, Batch& batch) {
  if (!batch.failure.ok()) return;
  changed_ = true;
  for (MaskedRound::Note& note : masked_->TakeNotes()) {
    Say(now, fmt::format("{}: {}", RoundName(), note.text), batch,
        note.warning);
  }
  for (const auto& [device, points] : masked_->TakeBlame()) {
    masking_.scores[device] += points;
    SaveScore(id(), device, masking_.scores[device], batch);
  }
  // Before the message that asks for input leaves: from then on the vectors
  // may have left their devices, whatever the round comes to.
  for (const std::string& device : masked_->spent()) {
    if (!counted_.insert(device).second) continue;
    SaveSpent(id(), device, ++masking_.spent[device], batch);
  }
  if (masked_->IsOver()) FinishMasked(now, batch);
}

// --- the end of an attempt

void Run::EndMasking(bool committed, const std::string& reason, absl::Time now,
                     Batch& batch) {
  if (!Masks()) return;
  std::set<std::string> survivors;
  if (masked_ != nullptr) {
    masked_->Stop(reason, now, batch);
    if (committed) survivors = masked_->survivors();
    benched_ = masked_->benched();
  } else {
    benched_.clear();
  }
  for (const auto& [device, entry] : masking_.keys) {
    if (left_.count(device)) continue;  // was told
    Session& session = sessions_[IdOf(device)];
    if (!survivors.count(device)) {
      session.state = committed ? ClientState::kLost : ClientState::kCancelled;
      session.detail =
          committed ? "the round was committed without this device" : reason;
      SaveSession(id(), IdOf(device), session, batch);
    }
    SendOutcome(device, CurrentKey(),
                survivors.count(device) ? v1::Outcome::ACCEPTED
                : committed             ? v1::Outcome::LATE
                                        : v1::Outcome::CANCELLED,
                session.detail, batch);
  }
  ForgetAttempt({id(), row_.round, row_.attempt}, batch);
  if (committed) {
    ForgetSpent(id(), batch);
    masking_.spent.clear();
  }
  masking_.keys.clear();
  masked_.reset();
  down_.clear();
  roster_.reset();
  counted_.clear();
  left_.clear();
}

}  // namespace edgetune
