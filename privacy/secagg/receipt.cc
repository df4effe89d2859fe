#include "privacy/secagg/receipt.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/member.h"
#include "protos/masking.h"
#include "protos/plan_check.h"

namespace edgetune::secagg {
namespace {

absl::Status NotAReceipt(std::string_view what) {
  return Annotate(
      absl::InvalidArgumentError(fmt::format("not a receipt: {}", what)),
      ErrorKind::kUsage, "wanted a file that `edgetune run download` wrote");
}

absl::Status Fault(std::string_view what) {
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "the receipt shows less than it must: {}", what)),
                  ErrorKind::kFailed,
                  "whoever runs the coordinator signed it: ask them, and do "
                  "not rely on this round");
}

absl::Status Require(bool holds, std::string_view what) {
  return holds ? absl::OkStatus() : Fault(what);
}

// One run of CheckReceipt.
class Checker {
 public:
  Checker(const v1::Envelope& envelope, const TrustedKeys& keys)
      : envelope_(envelope), keys_(keys) {}

  absl::StatusOr<CheckedReceipt> Run(absl::Time now) {
    EDGETUNE_RETURN_IF_ERROR(Open(now));
    EDGETUNE_RETURN_IF_ERROR(OpenManifest());
    EDGETUNE_RETURN_IF_ERROR(CheckRoster());
    EDGETUNE_RETURN_IF_ERROR(CheckParameters());
    EDGETUNE_RETURN_IF_ERROR(
        Require(receipt().groups_size() > 0, "it has no group"));
    for (const v1::GroupReceipt& group : receipt().groups()) {
      const absl::Status status = CheckGroup(group);
      if (!status.ok()) {
        return Prefix(status,
                      fmt::format("group {} of {}", checked_.groups.size(),
                                  receipt().groups_size()));
      }
    }
    EDGETUNE_RETURN_IF_ERROR(CheckResult());
    return std::move(checked_);
  }

 private:
  const v1::RoundReceipt& receipt() const { return checked_.receipt; }
  const v1::MaskingTerms& terms() const { return checked_.manifest.masking(); }

  absl::Status Open(absl::Time now);
  absl::Status OpenManifest();
  absl::Status CheckRoster();
  absl::Status CheckParameters();
  absl::Status CheckGroup(const v1::GroupReceipt& group);
  absl::Status CheckCohort(const v1::GroupReceipt& group);
  absl::Status CheckMember(const v1::CohortEntry& entry);
  absl::Status CheckSurvivors(const v1::GroupReceipt& group,
                              CheckedReceipt::Group& facts);
  absl::Status CheckSignatures(const v1::GroupReceipt& group,
                               CheckedReceipt::Group& facts);
  absl::Status CheckResult();

  const v1::Envelope& envelope_;
  const TrustedKeys& keys_;
  CheckedReceipt checked_;
  Digest m_ = {};
  RosterRoot roster_;
  // Of all groups: a client or key that appears twice is in two sums.
  std::set<ClientId> ids_;
  std::set<std::string_view> public_keys_;
};

absl::Status Checker::Open(absl::Time now) {
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kReceipt, envelope_, keys_));
  if (!checked_.receipt.ParseFromString(envelope_.payload())) {
    return NotAReceipt("its payload is another message");
  }
  return CheckHeader(receipt().header(), now, "the receipt");
}

absl::Status Checker::OpenManifest() {
  const v1::Envelope& signed_manifest = receipt().manifest();
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kManifest, signed_manifest, keys_));
  auto manifest = ParseManifest(signed_manifest.payload());
  if (!manifest.ok()) return Fault(std::string(manifest.status().message()));
  EDGETUNE_RETURN_IF_ERROR(
      Require(manifest->has_masking(), "its round was not masked"));
  EDGETUNE_RETURN_IF_ERROR(
      Require(manifest->plan_digest() == receipt().plan_digest(),
              "its round belongs to another run"));
  checked_.manifest = *std::move(manifest);
  m_ = ManifestDigest(signed_manifest.payload());
  return absl::OkStatus();
}

absl::Status Checker::CheckRoster() {
  const v1::Envelope& envelope = receipt().roster();
  EDGETUNE_RETURN_IF_ERROR(
      VerifyDocument(DocumentUse::kRoster, envelope, keys_));
  const auto head = ParseRosterHead(envelope.payload());
  if (!head.ok()) return Fault(std::string(head.status().message()));
  EDGETUNE_RETURN_IF_ERROR(
      CheckHeader(head->header(),
                  absl::FromUnixMillis(checked_.manifest.header().issued_ms()),
                  "when the round began, its roster"));
  EDGETUNE_RETURN_IF_ERROR(
      Require(head->version() == terms().roster_version() &&
                  head->root() == terms().roster_root() &&
                  head->leaf_count() == terms().roster_leaves(),
              "its roster is not the one that the round's manifest names"));
  std::ranges::copy(ByteSpan(head->root()), roster_.root.begin());
  roster_.leaves = head->leaf_count();
  return absl::OkStatus();
}

absl::Status Checker::CheckParameters() {
  MaskedShape shape;
  shape.bits = receipt().bits();
  shape.n_max = receipt().n_max();
  shape.bound = receipt().bound();
  shape.coordinates = checked_.manifest.coordinates();
  EDGETUNE_RETURN_IF_ERROR(
      Require(shape.n_max <= kSecAggLargestGroup && CheckShape(shape).ok() &&
                  receipt().scale() == shape.ScaleOf(shape.bound),
              "with its parameters a sum could wrap"));
  return Require(receipt().base_digest().size() == kDigestBytes,
                 "it names no base model");
}

absl::Status Checker::CheckGroup(const v1::GroupReceipt& group) {
  CheckedReceipt::Group& facts = checked_.groups.emplace_back();
  facts.members = static_cast<uint32_t>(group.cohort_size());
  EDGETUNE_RETURN_IF_ERROR(Require(
      facts.members >= kSecAggSmallestCohort &&
          facts.members <= receipt().n_max(),
      fmt::format("its cohort has {} members, wanted {} to {}", facts.members,
                  kSecAggSmallestCohort, receipt().n_max())));
  EDGETUNE_RETURN_IF_ERROR(CheckCohort(group));
  facts.threshold = SecAggThreshold(facts.members);
  EDGETUNE_RETURN_IF_ERROR(
      Require(group.threshold() == facts.threshold,
              fmt::format("its threshold is {}, {} members have {}",
                          group.threshold(), facts.members, facts.threshold)));
  EDGETUNE_RETURN_IF_ERROR(CheckSurvivors(group, facts));
  return CheckSignatures(group, facts);
}

absl::Status Checker::CheckCohort(const v1::GroupReceipt& group) {
  std::vector<MemberKeys> members;
  for (const v1::CohortEntry& entry : group.cohort()) {
    EDGETUNE_RETURN_IF_ERROR(CheckMember(entry));
    const ClientId id = IdOf(entry);
    EDGETUNE_RETURN_IF_ERROR(Require(members.empty() || members.back().id < id,
                                     "its members do not ascend"));
    EDGETUNE_RETURN_IF_ERROR(
        Require(ids_.insert(id).second, "a member is in two groups"));
    members.push_back({id, entry.c_pk(), entry.s_pk()});
  }
  return Require(group.session() == BytesOf(SessionId(m_, members)),
                 "its session is not that of its members");
}

absl::Status Checker::CheckMember(const v1::CohortEntry& entry) {
  const absl::Status sizes = CheckEntrySizes(entry);
  if (!sizes.ok()) return Fault(std::string(sizes.message()));
  EDGETUNE_RETURN_IF_ERROR(Require(IsInRoster(entry, roster_),
                                   "a member is not enrolled and active"));
  EDGETUNE_RETURN_IF_ERROR(
      Require(HasSignedKeys(entry, m_),
              "a member did not sign its keys for this round"));
  return Require(public_keys_.insert(entry.c_pk()).second &&
                     public_keys_.insert(entry.s_pk()).second,
                 "two public keys are the same");
}

absl::Status Checker::CheckSurvivors(const v1::GroupReceipt& group,
                                     CheckedReceipt::Group& facts) {
  const auto u2 = MembersOf(group.u2(), facts.members);
  const auto u3 = MembersOf(group.u3(), facts.members);
  EDGETUNE_RETURN_IF_ERROR(
      Require(u2.ok() && u3.ok(), "its sets of members are unreadable"));
  for (uint32_t v = 0; v < facts.members; ++v) {
    EDGETUNE_RETURN_IF_ERROR(
        Require(!(*u3)[v] || (*u2)[v], "a survivor had dealt no shares"));
    facts.survivors += (*u3)[v] ? 1 : 0;
  }
  return Require(facts.survivors >= facts.threshold,
                 fmt::format("{} survivors are fewer than the threshold {}",
                             facts.survivors, facts.threshold));
}

absl::Status Checker::CheckSignatures(const v1::GroupReceipt& group,
                                      CheckedReceipt::Group& facts) {
  Digest session = {};
  std::ranges::copy(ByteSpan(group.session()), session.begin());
  const std::vector<bool> u3 = *MembersOf(group.u3(), facts.members);
  const std::string statement = U3Bytes(session, group.u2(), group.u3());
  std::set<uint32_t> signers;
  for (const v1::IndexedSignature& entry : group.signatures()) {
    const uint32_t v = entry.index();
    EDGETUNE_RETURN_IF_ERROR(Require(v < facts.members && u3[v],
                                     "a signer is not among the survivors"));
    EDGETUNE_RETURN_IF_ERROR(
        Require(signers.insert(v).second, "a survivor is counted twice"));
    const auto key =
        PublicKey::FromRaw(group.cohort(static_cast<int>(v)).identity_key());
    EDGETUNE_RETURN_IF_ERROR(
        Require(key.ok() && key->Verify(statement, entry.signature()),
                "a survivor did not sign this set"));
  }
  facts.signers = static_cast<uint32_t>(signers.size());
  return Require(facts.signers >= facts.threshold,
                 fmt::format("{} signatures are fewer than the threshold {}",
                             facts.signers, facts.threshold));
}

absl::Status Checker::CheckResult() {
  uint64_t survivors = 0;
  for (const CheckedReceipt::Group& group : checked_.groups) {
    survivors += group.survivors;
  }
  EDGETUNE_RETURN_IF_ERROR(
      Require(survivors == receipt().survivors(),
              fmt::format("it counts {} survivors, its groups have {}",
                          receipt().survivors(), survivors)));
  const bool train = checked_.manifest.kind() == v1::RoundManifest::TRAIN;
  EDGETUNE_RETURN_IF_ERROR(
      Require(receipt().result_digest().size() == (train ? kDigestBytes : 0),
              train ? "it names no resulting adapter"
                    : "an evaluation has no resulting adapter"));
  const size_t previous = receipt().prev_receipt_digest().size();
  return Require(previous == 0 || previous == kDigestBytes,
                 "the digest of the receipt before is none");
}

}  // namespace

absl::StatusOr<CheckedReceipt> CheckReceipt(const v1::Envelope& envelope,
                                            const TrustedKeys& keys,
                                            absl::Time now) {
  return Checker(envelope, keys).Run(now);
}

std::optional<ReceiptPlace> FindInReceipt(const CheckedReceipt& receipt,
                                          const ClientId& id) {
  for (size_t g = 0; g < receipt.groups.size(); ++g) {
    const v1::GroupReceipt& group = receipt.receipt.groups(static_cast<int>(g));
    for (int i = 0; i < group.cohort_size(); ++i) {
      if (IdOf(group.cohort(i)) != id) continue;
      ReceiptPlace place;
      place.group = g;
      place.index = static_cast<uint32_t>(i);
      const size_t n = receipt.groups[g].members;
      place.survived = (*MembersOf(group.u3(), n))[place.index];
      place.has_signed = std::ranges::any_of(
          group.signatures(), [&](const v1::IndexedSignature& entry) {
            return entry.index() == place.index;
          });
      return place;
    }
  }
  return std::nullopt;
}

absl::Status CompareWithRecord(const v1::GroupReceipt& group,
                               std::string_view record,
                               const TrustedKeys& keys) {
  v1::SignedStatement remembered;
  if (!remembered.ParseFromArray(record.data(),
                                 static_cast<int>(record.size()))) {
    return absl::DataLossError("what the device wrote down is unreadable");
  }
  const bool by_coordinator =
      std::ranges::any_of(keys.round, [&](const PublicKey& key) {
        return key.Verify(remembered.statement(), remembered.signature());
      });
  if (!by_coordinator) {
    return absl::DataLossError(
        "what the device wrote down was not signed by the coordinator");
  }
  Digest session = {};
  std::ranges::copy(ByteSpan(group.session()), session.begin());
  if (remembered.statement() == FreezeBytes(session, group.u2(), group.u3())) {
    return absl::OkStatus();
  }
  return Annotate(
      absl::InvalidArgumentError(
          "this device signed another survivor set in this session than the "
          "receipt holds: the coordinator signed two"),
      ErrorKind::kFailed,
      "keep the receipt and the device's state: together they prove it");
}

}  // namespace edgetune::secagg
