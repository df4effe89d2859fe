#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_RESTORED_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_RESTORED_H_

// Coordinators that come back from records, for tests of what they make of
// them.

#include <vector>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {

inline const Fleet& FleetOfSeven() {
  static const auto* fleet = new Fleet({.size = 7});
  return *fleet;
}

// Seven (t = 5), two of whom stop: where, the test says.
inline Harness::Options Seven() {
  Harness::Options options;
  options.n = 7;
  options.shape = ShapeWithLanes(32, 7, 4);
  return options;
}

inline std::vector<SecAggServer::Record> Flat(
    const std::vector<std::vector<SecAggServer::Record>>& batches) {
  std::vector<SecAggServer::Record> records;
  for (const auto& batch : batches) {
    records.insert(records.end(), batch.begin(), batch.end());
  }
  return records;
}

// What Restore makes of these records.
inline absl::StatusOr<SecAggServer> Restored(
    const Harness& session, const std::vector<SecAggServer::Record>& records,
    SecAggServer::Actions& actions) {
  SecAggServer::Options options;
  options.manifest = session.manifest;
  options.shape = session.options.shape;
  options.round_key = &session.fleet.round_key;
  return SecAggServer::Restore(options, session.server->cohort(), records,
                               actions);
}

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_RESTORED_H_
