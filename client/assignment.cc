#include "client/assignment.h"

#include <fmt/format.h>

#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "protos/local_work.h"
#include "protos/plan_check.h"

namespace edgetune {
namespace {

using secagg::WithAbortCode;

// Digests are of no secret; people compare their beginnings.
std::string Short(const std::string& digest) {
  return ToHex(std::string_view(digest)).substr(0, 8);
}

absl::StatusOr<v1::TaskPlan> VerifyPlan(const v1::Envelope& envelope,
                                        const TrustedKeys& keys,
                                        absl::Time now) {
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
      v1::BAD_SIGNATURE, VerifyDocument(DocumentUse::kPlan, envelope, keys)));
  absl::StatusOr<v1::TaskPlan> parsed = ParsePlan(envelope.payload());
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(v1::MANIFEST_POLICY, parsed.status()));
  v1::TaskPlan& plan = *parsed;
  EDGETUNE_RETURN_IF_ERROR(
      WithAbortCode(v1::REPLAY, CheckHeader(plan.header(), now, "plan")));
  const auto& parts = plan.model().parts();
  const std::string digest =
      Sha256Bytes(CanonicalBaseEncoding({parts.begin(), parts.end()}));
  if (digest != plan.model().digest()) {
    return WithAbortCode(
        v1::MANIFEST_POLICY,
        absl::InvalidArgumentError(
            fmt::format("plan: the parts of its base model have digest {}, "
                        "model.digest is {}",
                        Short(digest), Short(plan.model().digest()))));
  }
  return parsed;
}

// What a manifest claims about its plan.
absl::Status CheckRound(const v1::RoundManifest& manifest,
                        const std::string& run_id, const v1::TaskPlan& plan) {
  if (manifest.plan_digest() != run_id) {
    return absl::InvalidArgumentError(
        fmt::format("round manifest: it is for plan {}, the plan beside it is "
                    "{}",
                    Short(manifest.plan_digest()), Short(run_id)));
  }
  const bool train = manifest.kind() == v1::RoundManifest::TRAIN;
  const uint32_t count = plan.rounds().count();
  if (train ? manifest.round() >= count : manifest.round() != count) {
    return absl::InvalidArgumentError(fmt::format(
        "round manifest: {} round {}, the plan has training rounds 0 to {} "
        "and evaluation {}",
        train ? "training" : "evaluation", manifest.round(), count - 1, count));
  }
  if (!train) return absl::OkStatus();
  if (UsesControls(plan) == manifest.control_digest().empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "round manifest: control_digest is {}, the plan's objective {}",
        manifest.control_digest().empty() ? "empty" : "set",
        UsesControls(plan) ? "scaffold has one in every training round"
                           : "has none"));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const ParameterLayout layout,
                            UpdateLayout(plan, manifest.round()));
  if (manifest.coordinates() == layout.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("round manifest: {} coordinates, the plan's update has {}",
                  manifest.coordinates(), layout.size()));
}

absl::Status VerifyManifest(const v1::Assignment& assignment,
                            const TrustedKeys& keys, absl::Time now,
                            VerifiedAssignment& verified) {
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
      v1::BAD_SIGNATURE,
      VerifyDocument(DocumentUse::kManifest, assignment.manifest(), keys)));
  auto manifest = ParseManifest(assignment.manifest().payload());
  EDGETUNE_RETURN_IF_ERROR(
      WithAbortCode(v1::MANIFEST_POLICY, manifest.status()));
  verified.manifest = *std::move(manifest);
  EDGETUNE_RETURN_IF_ERROR(WithAbortCode(
      v1::REPLAY,
      CheckHeader(verified.manifest.header(), now, "round manifest")));
  verified.id = ClaimedId(assignment);
  return WithAbortCode(
      v1::MANIFEST_POLICY,
      CheckRound(verified.manifest, verified.id.run_id, verified.plan));
}

// Which session of this device the coordinator counts, where that matters.
absl::Status ReadCounted(const v1::Assignment& assignment,
                         VerifiedAssignment& verified) {
  if (!assignment.has_counted()) return absl::OkStatus();
  const SessionId counted = IdOf(assignment.counted());
  if (KeepsOwnVector(verified.plan) && counted.run_id == verified.id.run_id &&
      counted.round < verified.id.round) {
    verified.counted = counted;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("assignment: counted is round {} of run {}, wanted one "
                  "before round {} of run {}, whose devices keep something of "
                  "their own",
                  counted.round, Short(counted.run_id), verified.id.round,
                  Short(verified.id.run_id)));
}

}  // namespace

SessionId ClaimedId(const v1::Assignment& assignment) {
  SessionId id;
  id.run_id = Sha256Bytes(assignment.plan().payload());
  v1::RoundManifest manifest;
  if (manifest.ParseFromString(assignment.manifest().payload())) {
    id.round = manifest.round();
    id.attempt = manifest.attempt();
  }
  return id;
}

absl::StatusOr<VerifiedAssignment> VerifyAssignment(
    const v1::Assignment& assignment, const TrustedKeys& keys,
    const ClientFile& file, absl::Time now) {
  VerifiedAssignment verified;
  EDGETUNE_ASSIGN_OR_RETURN(verified.plan,
                            VerifyPlan(assignment.plan(), keys, now));
  EDGETUNE_RETURN_IF_ERROR(VerifyManifest(assignment, keys, now, verified));
  const std::string& population = file.population;
  if (verified.plan.fleet().population() != population) {
    return absl::FailedPreconditionError(
        fmt::format("the plan is for population \"{}\", this device serves "
                    "\"{}\"",
                    verified.plan.fleet().population(), population));
  }
  verified.train = verified.manifest.kind() == v1::RoundManifest::TRAIN;
  EDGETUNE_RETURN_IF_ERROR(
      WithAbortCode(v1::MANIFEST_POLICY, ReadCounted(assignment, verified)));
  if (verified.plan.secagg().enabled()) {
    EDGETUNE_ASSIGN_OR_RETURN(
        verified.masking,
        VerifyMaskedTerms(assignment, verified.plan, keys,
                          static_cast<uint32_t>(file.policy.min_cohort), now));
  } else if (file.policy.min_cohort > 1) {
    return WithAbortCode(v1::MANIFEST_POLICY,
                         absl::FailedPreconditionError(fmt::format(
                             "the plan does not mask, and this device's policy "
                             "wants its update among at least {}",
                             file.policy.min_cohort)));
  }
  return verified;
}

v1::SessionKey KeyOf(const SessionId& id) {
  v1::SessionKey key;
  key.set_run_id(id.run_id);
  key.set_round(id.round);
  key.set_attempt(id.attempt);
  return key;
}

SessionId IdOf(const v1::SessionKey& key) {
  return {key.run_id(), key.round(), key.attempt()};
}

}  // namespace edgetune
