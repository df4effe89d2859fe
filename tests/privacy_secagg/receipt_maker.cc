#include "tests/privacy_secagg/receipt_maker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "privacy/secagg/encoding.h"
#include "privacy/secagg/member.h"
#include "protos/masking.h"
#include "tests/privacy_secagg/random_sources.h"

namespace edgetune::secagg {
namespace {

constexpr int64_t kIssuedMs = 1'700'000'000'000;

void FillHeader(int64_t life_ms, v1::DocumentHeader* header) {
  header->set_version(1);
  header->set_issued_ms(kIssuedMs);
  header->set_expires_ms(kIssuedMs + life_ms);
}

// 32 bytes that differ for every device and use.
std::string KeyBytes(uint32_t device, char use) {
  return BytesOf(Sha256(std::string(1, use) + std::to_string(device)));
}

SigningKey RosterKey() {
  SeededRandom random = Seeded(4711);
  return SigningKey::Generate(random).value();
}

template <typename Message>
v1::Envelope Signed(DocumentUse use, const Message& message,
                    const SigningKey& key) {
  return SignDocument(use, message.SerializeAsString(), key).value();
}

Digest SessionOf(const v1::GroupReceipt& group) {
  Digest session = {};
  std::copy_n(group.session().begin(),
              std::min(group.session().size(), session.size()),
              session.begin());
  return session;
}

}  // namespace

ReceiptMaker::ReceiptMaker(Fleet::Options options)
    : fleet(options), roster_key(RosterKey()) {}

TrustedKeys ReceiptMaker::keys() const {
  return {{}, {fleet.round_key.public_key()}, {roster_key.public_key()}};
}

absl::Time ReceiptMaker::Now() {
  return absl::FromUnixMillis(kIssuedMs) + absl::Hours(24 * 100);
}

v1::RosterHead ReceiptMaker::MakeHead() const {
  v1::RosterHead made;
  FillHeader(86'400'000, made.mutable_header());
  made.set_version(3);
  made.set_leaf_count(fleet.root().leaves);
  made.set_root(BytesOf(fleet.root().root));
  return made;
}

v1::RoundManifest ReceiptMaker::MakeManifest(const v1::RosterHead& head) const {
  v1::RoundManifest made;
  FillHeader(600'000, made.mutable_header());
  made.set_kind(v1::RoundManifest::TRAIN);
  made.set_plan_digest(KeyBytes(0, 'p'));
  made.set_round(1);
  made.set_attempt(2);
  made.set_adapter_digest(KeyBytes(0, 'a'));
  made.set_coordinates(56);
  made.set_deadline_ms(kIssuedMs + 6000);
  v1::MaskingTerms& terms = *made.mutable_masking();
  terms.set_protocol_version(1);
  terms.set_roster_version(head.version());
  terms.set_roster_root(head.root());
  terms.set_roster_leaves(head.leaf_count());
  terms.set_keys_by_ms(kIssuedMs + 1000);
  terms.set_shares_by_ms(kIssuedMs + 2000);
  terms.set_acks_by_ms(kIssuedMs + 3000);
  terms.set_input_by_ms(kIssuedMs + 4000);
  terms.set_survivors_by_ms(kIssuedMs + 5000);
  terms.set_unmask_by_ms(kIssuedMs + 6000);
  terms.set_nonce(KeyBytes(0, 'n'));
  return made;
}

v1::CohortEntry ReceiptMaker::MakeEntry(const Digest& m,
                                        uint32_t device) const {
  v1::AdvertiseKeys message;
  message.set_manifest(BytesOf(m));
  message.set_c_pk(KeyBytes(device, 'c'));
  message.set_s_pk(KeyBytes(device, 's'));
  message.set_nonce(std::string(16, 'x'));
  advertised(device, message);
  message.set_signature(
      fleet.identities[device]
          .Sign(AdvertiseBytes(m, fleet.members[device].id, message))
          .value());
  return secagg::MakeEntry(fleet.members[device], fleet.ProofOf(device),
                           message);
}

v1::GroupReceipt ReceiptMaker::MakeGroup(const Digest& m, int number) const {
  v1::GroupReceipt made;
  std::vector<MemberKeys> who;
  std::vector<bool> all, survived;
  for (const uint32_t device : members[number]) {
    v1::CohortEntry made_entry = MakeEntry(m, device);
    entry(device, made_entry);
    who.push_back(
        {fleet.members[device].id, made_entry.c_pk(), made_entry.s_pk()});
    *made.add_cohort() = std::move(made_entry);
    all.push_back(true);
    survived.push_back(device != 4);
  }
  made.set_session(BytesOf(SessionId(m, who)));
  made.set_threshold(SecAggThreshold(static_cast<uint32_t>(who.size())));
  made.set_u2(BitmapOf(all));
  made.set_u3(BitmapOf(survived));
  group(number, made);
  const std::string statement = U3Bytes(SessionOf(made), made.u2(), made.u3());
  for (uint32_t i = 0; i < who.size(); ++i) {
    const uint32_t device = members[number][i];
    if (device == 4 || device == 7) continue;
    v1::IndexedSignature& signature = *made.add_signatures();
    signature.set_index(i);
    signature.set_signature(fleet.identities[device].Sign(statement).value());
  }
  sealed(number, made);
  return made;
}

v1::Envelope ReceiptMaker::Make() const {
  v1::RosterHead made_head = MakeHead();
  head(made_head);
  v1::RoundManifest made_manifest = MakeManifest(made_head);
  manifest(made_manifest);
  v1::RoundReceipt made;
  FillHeader(int64_t{3650} * 86'400'000, made.mutable_header());
  made.set_plan_digest(KeyBytes(0, 'p'));
  *made.mutable_manifest() =
      Signed(DocumentUse::kManifest, made_manifest, fleet.round_key);
  made.set_base_digest(KeyBytes(0, 'b'));
  const Digest m = ManifestDigest(made.manifest().payload());
  for (size_t i = 0; i < members.size(); ++i) {
    *made.add_groups() = MakeGroup(m, static_cast<int>(i));
  }
  made.set_survivors(8);
  made.set_result_digest(KeyBytes(0, 'r'));
  MaskedShape shape;
  shape.n_max = 5;
  shape.bound = 0.25;
  made.set_bits(shape.bits);
  made.set_bound(shape.bound);
  made.set_scale(shape.ScaleOf(shape.bound));
  made.set_n_max(shape.n_max);
  *made.mutable_roster() = Signed(DocumentUse::kRoster, made_head, roster_key);
  receipt(made);
  return Signed(DocumentUse::kReceipt, made, fleet.round_key);
}

}  // namespace edgetune::secagg
