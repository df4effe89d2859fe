#include "tests/secagg/papers.h"

#include <string>

#include "absl/time/clock.h"

namespace edgetune::testing {
namespace {

v1::DocumentHeader HeaderInDate() {
  v1::DocumentHeader header;
  header.set_version(1);
  header.set_issued_ms(absl::ToUnixMillis(absl::Now() - absl::Minutes(1)));
  header.set_expires_ms(absl::ToUnixMillis(absl::Now() + absl::Hours(1)));
  return header;
}

template <typename Document>
v1::Envelope Signed(DocumentUse use, const Document& document,
                    const SigningKey& key) {
  return SignDocument(use, document.SerializeAsString(), key).value();
}

template <typename Document>
std::string DigestOf(const Document& document) {
  return Sha256Bytes(document.SerializeAsString());
}

v1::ModelCard MakeCard(const v1::TaskPlan& plan, uint32_t version) {
  v1::ModelCard card;
  // The same bytes for the same plan.
  *card.mutable_header() = plan.header();
  card.set_version(version);
  card.set_adapter_digest(plan.lora().initial_digest());
  if (version > 0) {
    card.set_updates(4);
    card.set_weight_sum(4);
  }
  return card;
}

// A minute for each phase.
void FillDeadlines(v1::RoundManifest& manifest) {
  v1::MaskingTerms& terms = *manifest.mutable_masking();
  int64_t at = absl::ToUnixMillis(absl::Now());
  const auto next = [&at] { return at += 60'000; };
  terms.set_keys_by_ms(next());
  terms.set_shares_by_ms(next());
  terms.set_acks_by_ms(next());
  terms.set_input_by_ms(next());
  terms.set_survivors_by_ms(next());
  terms.set_unmask_by_ms(next());
  manifest.set_deadline_ms(at);
}

}  // namespace

void Papers::Link() {
  const std::string run_id = DigestOf(plan);
  std::string before;
  for (v1::ModelCard& card : cards) {
    card.set_plan_digest(run_id);
    card.set_prev_card_digest(before);
    before = DigestOf(card);
  }
  manifest.set_plan_digest(run_id);
  manifest.set_adapter_digest(cards.back().adapter_digest());
  manifest.set_prev_card_digest(cards.size() > 1 ? before : "");
  v1::MaskingTerms& terms = *manifest.mutable_masking();
  terms.set_roster_version(head.version());
  terms.set_roster_root(head.root());
  terms.set_roster_leaves(head.leaf_count());
  for (v1::SpentOverride& override : overrides) {
    override.set_plan_digest(run_id);
    override.set_adapter_digest(manifest.adapter_digest());
  }
}

v1::Assignment Papers::Sign() const {
  v1::Assignment assignment;
  *assignment.mutable_plan() = Signed(DocumentUse::kPlan, plan, *plan_key);
  *assignment.mutable_manifest() =
      Signed(DocumentUse::kManifest, manifest, *manifest_key);
  *assignment.mutable_roster() = Signed(DocumentUse::kRoster, head, *head_key);
  for (const v1::ModelCard& card : cards) {
    *assignment.add_cards() = Signed(DocumentUse::kCard, card, *card_key);
  }
  for (const v1::SpentOverride& override : overrides) {
    *assignment.add_overrides() =
        Signed(DocumentUse::kOverride, override, *override_key);
  }
  return assignment;
}

Papers MakePapers(const v1::TaskPlan& plan, const TlsFleet& fleet,
                  uint32_t round, uint32_t attempt) {
  Papers papers;
  papers.plan = plan;
  papers.head = fleet.MakeHead();
  for (uint32_t version = 0; version <= round; ++version) {
    papers.cards.push_back(MakeCard(plan, version));
  }
  papers.manifest = MakeManifest(plan, SignedPlan(plan, fleet.keys), round);
  papers.manifest.set_attempt(attempt);
  papers.manifest.mutable_masking()->set_protocol_version(1);
  papers.manifest.mutable_masking()->set_nonce(std::string(32, 'n'));
  FillDeadlines(papers.manifest);
  papers.plan_key = papers.override_key = &fleet.keys.release;
  papers.card_key = papers.manifest_key = &fleet.keys.round;
  papers.head_key = &fleet.keys.authority;
  papers.Link();
  return papers;
}

v1::SpentOverride MakeOverride(const Papers& papers, uint32_t extra) {
  v1::SpentOverride override;
  *override.mutable_header() = HeaderInDate();
  override.set_plan_digest(papers.manifest.plan_digest());
  override.set_adapter_digest(papers.manifest.adapter_digest());
  override.set_extra(extra);
  return override;
}

void Expire(v1::DocumentHeader* header) {
  const absl::Time now = absl::Now();
  header->set_issued_ms(absl::ToUnixMillis(now - absl::Hours(2)));
  header->set_expires_ms(absl::ToUnixMillis(now - absl::Hours(1)));
}

}  // namespace edgetune::testing
