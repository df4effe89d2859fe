#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_H_

#include <cstdint>
#include <set>
#include <vector>

#include "privacy/crypto/signature.h"
#include "privacy/identity/roster.h"
#include "privacy/secagg/member.h"

namespace edgetune::secagg {

// Devices with their enrolment, and a coordinator: what exists before any
// masking session. The same keys for the same seed. Immutable.
struct Fleet {
  struct Options {
    uint32_t size = 10;
    uint32_t seed = 1;
    std::set<uint32_t> revoked = {};
    std::set<uint32_t> unenrolled = {};  // has keys, is in no roster
  };
  explicit Fleet(const Options& options);

  RosterRoot root() const;
  // Of the newest roster; of an empty one for who is not in it.
  RosterProof ProofOf(uint32_t index) const;

  std::vector<SigningKey> identities;  // ascending by client id
  std::vector<RosterMember> members;   // active as the roster says
  SigningKey round_key;
  SigningKey foreign_key;  // of nobody
  Roster roster;
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_FLEET_H_
