#include "client/masked_assignment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/roster.h"
#include "privacy/secagg/encoding.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"

namespace edgetune {
namespace {

using secagg::AbortError;
using secagg::WithAbortCode;

absl::Status CheckRosterHead(const v1::Envelope& envelope,
                             const v1::MaskingTerms& terms,
                             const TrustedKeys& keys, absl::Time now) {
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
      v1::BAD_ROSTER, VerifyDocument(DocumentUse::kRoster, envelope, keys)));
  auto head = ParseRosterHead(envelope.payload());
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(v1::BAD_ROSTER, head.status()));
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
      v1::BAD_ROSTER, CheckHeader(head->header(), now, "roster")));
  if (head->version() != terms.roster_version() ||
      head->root() != terms.roster_root() ||
      head->leaf_count() != terms.roster_leaves()) {
    return AbortError(v1::BAD_ROSTER,
                      "the manifest names another roster than the one beside "
                      "it");
  }
  return absl::OkStatus();
}

// Every card in turn names the digest of the one before.
absl::Status ReadChain(const v1::Assignment& assignment,
                       const std::string& run_id, const TrustedKeys& keys,
                       std::vector<std::string>& digests) {
  for (const v1::Envelope& envelope : assignment.cards()) {
    EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
        v1::BAD_SIGNATURE, VerifyDocument(DocumentUse::kCard, envelope, keys)));
    auto card = ParseCard(envelope.payload());
    EDGETUNE_RETURN_IF_ERROR(WithAbortCode(v1::REPLAY, card.status()));
    const bool linked =
        card->plan_digest() == run_id && card->version() == digests.size() &&
        card->prev_card_digest() == (digests.empty() ? "" : digests.back());
    if (!linked) {
      return AbortError(v1::REPLAY,
                        fmt::format("card {} does not continue the chain of "
                                    "adapters",
                                    card->version()));
    }
    digests.push_back(Sha256Bytes(envelope.payload()));
  }
  return absl::OkStatus();
}

absl::Status CheckHeadOfChain(const v1::Assignment& assignment,
                              const v1::RoundManifest& manifest,
                              const std::vector<std::string>& digests) {
  v1::ModelCard last;
  if (!digests.empty()) {
    last.ParseFromString(
        assignment.cards(assignment.cards_size() - 1).payload());
  }
  const std::string prev = last.version() == 0 ? "" : digests.back();
  if (digests.size() == manifest.round() + size_t{1} &&
      last.adapter_digest() == manifest.adapter_digest() &&
      manifest.prev_card_digest() == prev) {
    return absl::OkStatus();
  }
  return AbortError(v1::REPLAY,
                    "the round's adapter is not the head of the chain of "
                    "adapters");
}

absl::StatusOr<uint32_t> ReadOverrides(const v1::Assignment& assignment,
                                       const MaskedTerms::History& history,
                                       const TrustedKeys& keys,
                                       absl::Time now) {
  uint32_t extra = 0;
  for (const v1::Envelope& envelope : assignment.overrides()) {
    EDGETUNE_RETURN_IF_ERROR(
        WithAbortCode(v1::BAD_SIGNATURE,
                      VerifyDocument(DocumentUse::kOverride, envelope, keys)));
    auto document = ParseOverride(envelope.payload());
    EDGETUNE_RETURN_IF_ERROR(
        WithAbortCode(v1::MANIFEST_POLICY, document.status()));
    if (document->plan_digest() == history.run_id &&
        document->adapter_digest() == history.adapter_digest &&
        CheckHeader(document->header(), now, "override").ok()) {
      extra = std::max(extra, document->extra());
    }
  }
  return extra;
}

}  // namespace

absl::StatusOr<MaskedTerms> VerifyMaskedTerms(const v1::Assignment& assignment,
                                              const v1::TaskPlan& plan,
                                              const TrustedKeys& keys,
                                              uint32_t n_min, absl::Time now) {
  v1::RoundManifest manifest;
  if (!manifest.ParseFromString(assignment.manifest().payload()) ||
      !manifest.has_masking()) {
    return AbortError(v1::MANIFEST_POLICY,
                      "the plan masks, the round's manifest does not");
  }
  if (plan.secagg().n_min() < n_min) {
    return AbortError(
        v1::MANIFEST_POLICY,
        fmt::format("the plan accepts cohorts of {}, this device wants at "
                    "least {}",
                    plan.secagg().n_min(), n_min));
  }
  MaskedTerms terms;
  terms.manifest = secagg::ManifestDigest(assignment.manifest().payload());
  auto shape = MaskedShapeOf(plan, manifest.round(), manifest.kind());
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(v1::MANIFEST_POLICY, shape.status()));
  terms.shape = *std::move(shape);
  EDGETUNE_RETURN_IF_ERROR(
      CheckRosterHead(assignment.roster(), manifest.masking(), keys, now));
  EDGETUNE_ASSIGN_OR_RETURN(terms.roster.root,
                            DigestFromBytes(manifest.masking().roster_root()));
  terms.roster.leaves = manifest.masking().roster_leaves();
  MaskedTerms::History& history = terms.history;
  history.run_id = Sha256Bytes(assignment.plan().payload());
  history.roster_version = manifest.masking().roster_version();
  history.base_digest = plan.model().digest();
  history.adapter_digest = manifest.adapter_digest();
  history.kind = manifest.kind();
  EDGETUNE_RETURN_IF_ERROR(
      ReadChain(assignment, history.run_id, keys, history.cards));
  EDGETUNE_RETURN_IF_ERROR(
      CheckHeadOfChain(assignment, manifest, history.cards));
  EDGETUNE_ASSIGN_OR_RETURN(const uint32_t extra,
                            ReadOverrides(assignment, history, keys, now));
  history.allowed = plan.secagg().max_contributions() + extra;
  return terms;
}

}  // namespace edgetune
