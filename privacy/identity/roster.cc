#include "privacy/identity/roster.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "privacy/identity/length_prefix.h"
#include "privacy/identity/party.h"

namespace edgetune {
namespace {

constexpr size_t kIdBytes = 16;
constexpr size_t kKeyBytes = 32;
// More than any fleet; a head beyond it is nonsense.
constexpr uint64_t kMaxLeaves = 1 << 24;

std::string_view BytesOf(const ClientId& id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

absl::Status Refuse(const v1::RosterEntry& entry, std::string_view problem) {
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "roster: the entry '{}' {}", entry.name().substr(0, 64), problem)),
      ErrorKind::kIdentity, "publish the roster anew from the enrolment kit");
}

absl::Status CheckEntry(const v1::RosterEntry& entry) {
  if (!IsPartyId(entry.name())) return Refuse(entry, "has no device's name");
  if (entry.client_id() != BytesOf(ClientIdOf(entry.name()))) {
    return Refuse(entry, "has an id that is not its name's");
  }
  if (entry.identity_key().size() != kKeyBytes) {
    return Refuse(entry,
                  fmt::format("has an identity key of {} bytes, wanted {}",
                              entry.identity_key().size(), kKeyBytes));
  }
  if (entry.enrolled_ms() < 0) return Refuse(entry, "enrolled before 1970");
  if (entry.status() != v1::RosterEntry::ACTIVE &&
      entry.status() != v1::RosterEntry::REVOKED) {
    return Refuse(entry, "has an unknown status");
  }
  return absl::OkStatus();
}

RosterMember MemberOf(const v1::RosterEntry& entry) {
  RosterMember member;
  std::copy(entry.client_id().begin(), entry.client_id().end(),
            member.id.begin());
  member.identity_key = entry.identity_key();
  member.enrolled_ms = entry.enrolled_ms();
  member.active = entry.status() == v1::RosterEntry::ACTIVE;
  return member;
}

}  // namespace

ClientId ClientIdOf(std::string_view device_name) {
  std::string bytes;
  AppendWithLength(fmt::format("{}client", kIdentityLabel), &bytes);
  AppendWithLength(device_name, &bytes);
  const Digest digest = Sha256(bytes);
  ClientId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

v1::RosterEntry MakeRosterEntry(const std::string& device_name,
                                const std::string& identity_key,
                                absl::Time now) {
  v1::RosterEntry entry;
  entry.set_name(device_name);
  entry.set_client_id(std::string(BytesOf(ClientIdOf(device_name))));
  entry.set_identity_key(identity_key);
  entry.set_enrolled_ms(absl::ToUnixMillis(now));
  entry.set_status(v1::RosterEntry::ACTIVE);
  return entry;
}

Digest RosterLeafHash(const RosterMember& member) {
  std::string data(BytesOf(member.id));
  data += member.identity_key;
  AppendBigEndian(static_cast<uint64_t>(member.enrolled_ms), 8, &data);
  data.push_back(static_cast<char>(member.active ? v1::RosterEntry::ACTIVE
                                                 : v1::RosterEntry::REVOKED));
  return MerkleLeafHash(data);
}

bool VerifyRosterProof(const RosterProof& proof, const Digest& leaf,
                       const Digest& root, uint64_t leaves) {
  if (proof.index >= leaves) return false;
  uint64_t at = proof.index;
  uint64_t last = leaves - 1;  // the level's last node
  Digest hash = leaf;
  for (const Digest& neighbour : proof.path) {
    if (last == 0) return false;  // longer than the tree is high
    if (at % 2 != 0 || at == last) {
      hash = MerkleNodeHash(neighbour, hash);
      // A last node rises unchanged until it has a neighbour on its left.
      while (at % 2 == 0 && at != 0) {
        at /= 2;
        last /= 2;
      }
    } else {
      hash = MerkleNodeHash(hash, neighbour);
    }
    at /= 2;
    last /= 2;
  }
  return last == 0 && hash == root;
}

absl::StatusOr<Roster> Roster::Make(std::vector<v1::RosterEntry> entries) {
  std::vector<Digest> leaves;
  leaves.reserve(entries.size());
  for (const v1::RosterEntry& entry : entries) {
    EDGETUNE_RETURN_IF_ERROR(CheckEntry(entry));
    if (!leaves.empty() &&
        entries[leaves.size() - 1].client_id() >= entry.client_id()) {
      return Refuse(entry, "is not after the one before it by client id");
    }
    leaves.push_back(RosterLeafHash(MemberOf(entry)));
  }
  Roster roster;
  roster.entries_ = std::move(entries);
  roster.tree_ = MerkleTree(std::move(leaves));
  return roster;
}

std::optional<size_t> Roster::Find(const ClientId& id) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), BytesOf(id),
      [](const v1::RosterEntry& entry, std::string_view wanted) {
        return entry.client_id() < wanted;
      });
  if (found == entries_.end() || found->client_id() != BytesOf(id)) {
    return std::nullopt;
  }
  return static_cast<size_t>(found - entries_.begin());
}

RosterMember Roster::Member(size_t index) const {
  EDGETUNE_CHECK(index < entries_.size());
  return MemberOf(entries_[index]);
}

RosterProof Roster::Prove(size_t index) const {
  return {index, tree_.PathOf(index)};
}

absl::StatusOr<v1::RosterHead> ParseRosterHead(std::string_view payload) {
  const auto refuse = [](std::string_view problem) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("a roster's head {}", problem)),
        ErrorKind::kIdentity);
  };
  v1::RosterHead head;
  if (!head.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return refuse("cannot be parsed");
  }
  if (!head.has_header()) return refuse("has no header");
  if (head.version() == 0) return refuse("has version 0");
  if (head.leaf_count() > kMaxLeaves) {
    return refuse(fmt::format("names {} leaves, at most {} can be",
                              head.leaf_count(), kMaxLeaves));
  }
  if (head.root().size() != sizeof(Digest)) {
    return refuse(fmt::format("has a root of {} bytes, wanted {}",
                              head.root().size(), sizeof(Digest)));
  }
  return head;
}

}  // namespace edgetune
