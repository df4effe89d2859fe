#ifndef EDGETUNE_PRIVACY_IDENTITY_ROSTER_H_
#define EDGETUNE_PRIVACY_IDENTITY_ROSTER_H_

// Who exists: a Merkle tree (RFC 6962) over (client id, identity key, time of
// enrolment, status), whose signed head the enrolment authority publishes.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/hash.h"
#include "privacy/identity/merkle_tree.h"
#include "protos/edgetune/v1/roster.pb.h"

namespace edgetune {

// Names a device inside secure aggregation.
using ClientId = std::array<uint8_t, 16>;
// First 16 bytes of SHA-256(lp("edgetune/identity/1/client") + lp(name)), name
// as in the device's certificate.
ClientId ClientIdOf(std::string_view device_name);

// The entry of a device that enrols at `now`.
v1::RosterEntry MakeRosterEntry(const std::string& device_name,
                                const std::string& identity_key,
                                absl::Time now);

// What a leaf says about one client.
struct RosterMember {
  ClientId id = {};
  std::string identity_key;  // raw Ed25519 public key, 32 bytes
  int64_t enrolled_ms = 0;
  bool active = true;
};

// That `index` of the tree is a leaf: its sibling hashes from the leaf up.
struct RosterProof {
  uint64_t index = 0;
  std::vector<Digest> path;
};

// SHA-256(0x00 ‖ id 16 ‖ key 32 ‖ enrolled_ms u64 ‖ status u8), big-endian.
Digest RosterLeafHash(const RosterMember& member);

// Whether `leaf` stands at proof.index of the tree of `leaves` leaves with
// this root (RFC 9162, 2.1.3.2). Never trusts the proof's length.
bool VerifyRosterProof(const RosterProof& proof, const Digest& leaf,
                       const Digest& root, uint64_t leaves);

// A whole roster in memory. Immutable once made; thread-safe.
class Roster {
 public:
  // InvalidArgument: ids not ascending and distinct, an id that is not its
  // name's, a key of another length, an unknown status.
  static absl::StatusOr<Roster> Make(std::vector<v1::RosterEntry> entries);

  const std::vector<v1::RosterEntry>& entries() const { return entries_; }
  Digest root() const { return tree_.root(); }
  // Index of the entry of this id.
  std::optional<size_t> Find(const ClientId& id) const;
  RosterMember Member(size_t index) const;
  RosterProof Prove(size_t index) const;

 private:
  Roster() = default;
  std::vector<v1::RosterEntry> entries_;
  MerkleTree tree_;
};

// Parses a head's payload and checks its fields, not signature or dates.
// InvalidArgument.
absl::StatusOr<v1::RosterHead> ParseRosterHead(std::string_view payload);

}  // namespace edgetune

#endif  // EDGETUNE_PRIVACY_IDENTITY_ROSTER_H_
