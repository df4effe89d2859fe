#include "tests/secagg/tls_fleet.h"

#include <algorithm>
#include <utility>

#include "storage/blob_store.h"

namespace edgetune::testing {
namespace {

std::vector<std::string> NamesByClientId(uint32_t size) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < size; ++i) names.push_back("d" + std::to_string(i));
  std::ranges::sort(names, {},
                    [](const std::string& name) { return ClientIdOf(name); });
  return names;
}

std::vector<TlsFleet::Member> MakeMembers(const Authority& authority,
                                          uint32_t size) {
  std::vector<TlsFleet::Member> members;
  for (const std::string& name : NamesByClientId(size)) {
    members.push_back({name, ClientIdOf(name),
                       authority.MakeKit(PartyRole::kDevice, name),
                       SigningKey::Generate().value()});
  }
  return members;
}

Roster MakeRoster(const TlsFleet::Options& options,
                  const std::vector<TlsFleet::Member>& members) {
  std::vector<v1::RosterEntry> entries;
  for (uint32_t i = 0; i < members.size(); ++i) {
    if (options.unenrolled.contains(i)) continue;
    v1::RosterEntry& entry = entries.emplace_back();
    entry.set_name(members[i].name);
    entry.set_client_id(members[i].id.data(), members[i].id.size());
    entry.set_identity_key(members[i].identity.public_key().raw());
    entry.set_enrolled_ms(1);
    entry.set_status(options.revoked.contains(i) ? v1::RosterEntry::REVOKED
                                                 : v1::RosterEntry::ACTIVE);
  }
  return Roster::Make(std::move(entries)).value();
}

}  // namespace

TlsFleet::TlsFleet(const Options& options)
    : keys(MakeTestKeys()),
      server_kit(authority.MakeKit(PartyRole::kServer, "server")),
      members(MakeMembers(authority, options.size)),
      roster(MakeRoster(options, members)) {
  WriteKit(scratch_.File("kit"), &server_kit);
}

v1::RosterHead TlsFleet::MakeHead() const {
  v1::RosterHead head;
  const absl::Time now = absl::Now();
  head.mutable_header()->set_version(1);
  head.mutable_header()->set_issued_ms(absl::ToUnixMillis(now));
  head.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(now + absl::Hours(1)));
  head.set_version(1);
  head.set_leaf_count(roster.entries().size());
  head.set_root(DigestBytes(roster.root()));
  return head;
}

RosterMember TlsFleet::LeafOf(uint32_t index) const {
  RosterMember leaf;
  leaf.id = members[index].id;
  leaf.identity_key = members[index].identity.public_key().raw();
  leaf.enrolled_ms = 1;
  return leaf;
}

RosterProof TlsFleet::ProofOf(uint32_t index) const {
  const auto at = roster.Find(members[index].id);
  return at.has_value() ? roster.Prove(*at) : RosterProof();
}

}  // namespace edgetune::testing
