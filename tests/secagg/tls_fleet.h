#ifndef EDGETUNE_TESTS_SECAGG_TLS_FLEET_H_
#define EDGETUNE_TESTS_SECAGG_TLS_FLEET_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "privacy/identity/roster.h"
#include "tests/client/fixture.h"
#include "tests/server_rpc/rpc_world.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// Who exists before any run: devices with a certificate, an identity key and a
// leaf in the roster each, a coordinator's kit, and the keys of all roles.
// Members ascend by client id, so that in a cohort of all a member's place is
// its index here. Immutable but for `roster`.
struct TlsFleet {
  struct Options {
    uint32_t size = 5;
    std::set<uint32_t> revoked = {};
    std::set<uint32_t> unenrolled = {};  // has certificate and keys only
  };
  struct Member {
    std::string name;
    ClientId id = {};
    Kit kit;
    SigningKey identity;
  };
  explicit TlsFleet(const Options& options);

  // Version 1 of the roster, valid for an hour.
  v1::RosterHead MakeHead() const;
  // The leaf of a member as an active one, whatever the roster says, and its
  // proof (empty for who has no leaf): a lying coordinator takes anybody.
  RosterMember LeafOf(uint32_t index) const;
  RosterProof ProofOf(uint32_t index) const;

  Authority authority;
  TestKeys keys;
  Kit server_kit;
  std::vector<Member> members;
  Roster roster;

 private:
  const ScratchDirectory scratch_;  // the server's kit, which its TLS follows
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_TLS_FLEET_H_
