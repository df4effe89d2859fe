#include "tests/privacy_secagg/fleet.h"

#include <algorithm>
#include <string>

#include "tests/privacy_secagg/random_sources.h"

namespace edgetune::secagg {
namespace {

std::vector<std::string> NamesByClientId(uint32_t size) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < size; ++i) names.push_back("d" + std::to_string(i));
  std::ranges::sort(names, {},
                    [](const std::string& n) { return ClientIdOf(n); });
  return names;
}

SigningKey KeyOf(uint32_t seed) {
  SeededRandom random = Seeded(seed);
  return SigningKey::Generate(random).value();
}

Roster MakeRoster(const Fleet::Options& options,
                  const std::vector<RosterMember>& members) {
  const std::vector<std::string> names = NamesByClientId(options.size);
  std::vector<v1::RosterEntry> entries;
  for (uint32_t i = 0; i < options.size; ++i) {
    if (options.unenrolled.contains(i)) continue;
    v1::RosterEntry& entry = entries.emplace_back();
    entry.set_name(names[i]);
    entry.set_client_id(members[i].id.data(), members[i].id.size());
    entry.set_identity_key(members[i].identity_key);
    entry.set_enrolled_ms(members[i].enrolled_ms);
    entry.set_status(members[i].active ? v1::RosterEntry::ACTIVE
                                       : v1::RosterEntry::REVOKED);
  }
  return Roster::Make(std::move(entries)).value();
}

std::vector<SigningKey> MakeIdentities(const Fleet::Options& options) {
  std::vector<SigningKey> keys;
  for (uint32_t i = 0; i < options.size; ++i) {
    keys.push_back(KeyOf(options.seed * 100'000 + i));
  }
  return keys;
}

std::vector<RosterMember> MakeMembers(const Fleet::Options& options,
                                      const std::vector<SigningKey>& keys) {
  const std::vector<std::string> names = NamesByClientId(options.size);
  std::vector<RosterMember> members;
  for (uint32_t i = 0; i < options.size; ++i) {
    RosterMember& member = members.emplace_back();
    member.id = ClientIdOf(names[i]);
    member.identity_key = keys[i].public_key().raw();
    member.enrolled_ms = 1'700'000'000'000 + i;
    member.active = !options.revoked.contains(i);
  }
  return members;
}

}  // namespace

Fleet::Fleet(const Options& options)
    : identities(MakeIdentities(options)),
      members(MakeMembers(options, identities)),
      round_key(KeyOf(options.seed * 100'000 + 90'000)),
      foreign_key(KeyOf(options.seed * 100'000 + 90'001)),
      roster(MakeRoster(options, members)) {}

RosterRoot Fleet::root() const {
  return {roster.root(), roster.entries().size()};
}

RosterProof Fleet::ProofOf(uint32_t index) const {
  const auto at = roster.Find(members[index].id);
  return at ? roster.Prove(*at) : RosterProof();
}

}  // namespace edgetune::secagg
