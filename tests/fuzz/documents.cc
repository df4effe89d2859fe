#include "tests/fuzz/documents.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "privacy/crypto/hash.h"
#include "privacy/identity/roster.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/testing/plans.h"

namespace edgetune::fuzz {
namespace {

SigningKey KeyOf(uint32_t seed) {
  SeededRandom random = secagg::Seeded(seed);
  return SigningKey::Generate(random).value();
}

Signers MakeSigners() {
  Signers made{KeyOf(1001), KeyOf(1002), KeyOf(1003), {}};
  made.keys = {{made.release.public_key()},
               {made.round.public_key()},
               {made.roster.public_key()}};
  return made;
}

std::string AsBytes(const Digest& digest) {
  return {digest.begin(), digest.end()};
}

void Sign(DocumentUse use, const SigningKey& key, v1::Envelope* envelope) {
  *envelope = SignDocument(use, envelope->payload(), key).value();
}

// The payload as a message, changed, and back. Nothing where it is none.
template <typename Message, typename Change>
void Edit(v1::Envelope* envelope, const Change& change) {
  Message message;
  if (!message.ParseFromString(envelope->payload())) return;
  change(message);
  envelope->set_payload(message.SerializeAsString());
}

v1::TaskPlan MaskedPlan() {
  v1::TaskPlan plan = ValidPlan();
  plan.mutable_rounds()->set_cohort(5);
  plan.mutable_rounds()->set_quorum(4);
  v1::SecAggSpec& secagg = *plan.mutable_secagg();
  secagg.set_enabled(true);
  secagg.set_n_min(4);
  secagg.set_bits(32);
  secagg.set_bound(0.25);
  secagg.set_group(300);
  secagg.set_max_contributions(1);
  return plan;
}

v1::RoundManifest MaskedManifest() {
  v1::RoundManifest manifest = ValidManifest();
  v1::MaskingTerms& terms = *manifest.mutable_masking();
  const int64_t end = manifest.deadline_ms();
  terms.set_protocol_version(1);
  terms.set_roster_version(3);
  terms.set_roster_root(std::string(32, 'r'));
  terms.set_roster_leaves(7);
  terms.set_keys_by_ms(end - 50'000);
  terms.set_shares_by_ms(end - 40'000);
  terms.set_acks_by_ms(end - 30'000);
  terms.set_input_by_ms(end - 20'000);
  terms.set_survivors_by_ms(end - 10'000);
  terms.set_unmask_by_ms(end);
  terms.set_nonce(std::string(32, 'o'));
  return manifest;
}

v1::RosterHead MakeHead() {
  v1::RosterHead head;
  *head.mutable_header() = ValidPlan().header();
  head.set_version(3);
  head.set_leaf_count(7);
  head.set_root(std::string(32, 'r'));
  return head;
}

v1::ModelCard CardOfVersion(uint32_t version) {
  v1::ModelCard card = ValidCard();
  if (version > 0) return card;
  card.clear_prev_card_digest();
  card.clear_updates();
  card.clear_weight_sum();
  return card;
}

v1::SpentOverride MakeOverride() {
  v1::SpentOverride document;
  *document.mutable_header() = ValidPlan().header();
  document.set_plan_digest(std::string(32, 'p'));
  document.set_adapter_digest(ValidCard().adapter_digest());
  document.set_extra(2);
  return document;
}

// Digest of the last card; the adapter that it names.
std::pair<std::string, std::string> LinkCards(const std::string& run_id,
                                              v1::Assignment& assignment) {
  std::string previous, adapter;
  for (int i = 0; i < assignment.cards_size(); ++i) {
    v1::Envelope* card = assignment.mutable_cards(i);
    Edit<v1::ModelCard>(card, [&](v1::ModelCard& message) {
      message.set_plan_digest(run_id);
      message.set_version(static_cast<uint32_t>(i));
      message.set_prev_card_digest(previous);
      adapter = message.adapter_digest();
    });
    previous = Sha256Bytes(card->payload());
  }
  return {previous, adapter};
}

void LinkManifest(const v1::Assignment& assignment, v1::RosterHead head,
                  v1::RoundManifest& manifest) {
  v1::TaskPlan plan;
  plan.ParseFromString(assignment.plan().payload());
  manifest.set_plan_digest(Sha256Bytes(assignment.plan().payload()));
  manifest.set_round(static_cast<uint32_t>(assignment.cards_size()) - 1);
  const bool train = manifest.round() < plan.rounds().count();
  manifest.set_kind(train ? v1::RoundManifest::TRAIN : v1::RoundManifest::EVAL);
  const auto layout = UpdateLayout(plan, manifest.round());
  manifest.set_coordinates(train && layout.ok() ? layout->size() : 0);
  const bool controls = train && UsesControls(plan);
  manifest.set_control_digest(controls ? std::string(32, 'c') : "");
  manifest.mutable_masking()->set_roster_version(head.version());
  manifest.mutable_masking()->set_roster_leaves(head.leaf_count());
  manifest.mutable_masking()->set_roster_root(head.root());
}

}  // namespace

const Signers& TheSigners() {
  static const auto* signers = new Signers(MakeSigners());
  return *signers;
}

absl::Time DocumentTime() {
  static const int64_t issued_ms = ValidPlan().header().issued_ms();
  return absl::FromUnixMillis(issued_ms + 1000);
}

void LinkAssignment(v1::Assignment& assignment) {
  Edit<v1::TaskPlan>(assignment.mutable_plan(), [](v1::TaskPlan& plan) {
    const auto& parts = plan.model().parts();
    plan.mutable_model()->set_digest(
        Sha256Bytes(CanonicalBaseEncoding({parts.begin(), parts.end()})));
  });
  const std::string run_id = Sha256Bytes(assignment.plan().payload());
  const auto [card, adapter] = LinkCards(run_id, assignment);
  v1::RosterHead head;
  head.ParseFromString(assignment.roster().payload());
  Edit<v1::RoundManifest>(
      assignment.mutable_manifest(),
      [&, &last = card, &start = adapter](v1::RoundManifest& manifest) {
        LinkManifest(assignment, head, manifest);
        manifest.set_adapter_digest(start);
        manifest.set_prev_card_digest(manifest.round() == 0 ? "" : last);
      });
  for (v1::Envelope& envelope : *assignment.mutable_overrides()) {
    Edit<v1::SpentOverride>(&envelope, [&](v1::SpentOverride& document) {
      document.set_plan_digest(run_id);
    });
  }
}

v1::Assignment MaskedAssignment() {
  v1::Assignment made;
  made.mutable_plan()->set_payload(MaskedPlan().SerializeAsString());
  made.mutable_manifest()->set_payload(MaskedManifest().SerializeAsString());
  made.mutable_roster()->set_payload(MakeHead().SerializeAsString());
  made.add_cards()->set_payload(CardOfVersion(0).SerializeAsString());
  made.add_cards()->set_payload(CardOfVersion(1).SerializeAsString());
  made.add_overrides()->set_payload(MakeOverride().SerializeAsString());
  LinkAssignment(made);
  const Signers& by = TheSigners();
  Sign(DocumentUse::kPlan, by.release, made.mutable_plan());
  Sign(DocumentUse::kManifest, by.round, made.mutable_manifest());
  Sign(DocumentUse::kRoster, by.roster, made.mutable_roster());
  for (auto& card : *made.mutable_cards()) {
    Sign(DocumentUse::kCard, by.round, &card);
  }
  Sign(DocumentUse::kOverride, by.release, made.mutable_overrides(0));
  return made;
}

void LinkRosterFile(v1::RosterFile& file) {
  std::vector<RosterMember> members;
  for (v1::RosterEntry& entry : *file.mutable_entries()) {
    const ClientId id = ClientIdOf(entry.name());
    entry.set_client_id(id.data(), id.size());
  }
  std::sort(file.mutable_entries()->begin(), file.mutable_entries()->end(),
            [](const v1::RosterEntry& a, const v1::RosterEntry& b) {
              return a.client_id() < b.client_id();
            });
  const auto roster =
      Roster::Make({file.entries().begin(), file.entries().end()});
  if (!roster.ok()) return;
  Edit<v1::RosterHead>(file.mutable_head(), [&](v1::RosterHead& head) {
    head.set_leaf_count(roster->entries().size());
    head.set_root(AsBytes(roster->root()));
  });
}

v1::RosterFile MakeRosterFile(uint32_t devices) {
  v1::RosterFile file;
  for (uint32_t i = 0; i < devices; ++i) {
    v1::RosterEntry& entry = *file.add_entries();
    entry = MakeRosterEntry("d" + std::to_string(i),
                            std::string(32, static_cast<char>('a' + i)),
                            DocumentTime());
    if (i % 3 == 2) entry.set_status(v1::RosterEntry::REVOKED);
  }
  file.mutable_head()->set_payload(MakeHead().SerializeAsString());
  LinkRosterFile(file);
  Sign(DocumentUse::kRoster, TheSigners().roster, file.mutable_head());
  return file;
}

}  // namespace edgetune::fuzz
