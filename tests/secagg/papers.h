#ifndef EDGETUNE_TESTS_SECAGG_PAPERS_H_
#define EDGETUNE_TESTS_SECAGG_PAPERS_H_

#include <cstdint>
#include <vector>

#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/roster.pb.h"
#include "tests/secagg/tls_fleet.h"

namespace edgetune::testing {

// The documents of one masked assignment before they are signed, and the keys
// that will sign them: what a lying coordinator, or the thief of one key, can
// choose. MakePapers gives good ones; keys are borrowed from the fleet.
struct Papers {
  v1::TaskPlan plan;
  v1::RosterHead head;
  std::vector<v1::ModelCard> cards;  // by version
  v1::RoundManifest manifest;
  std::vector<v1::SpentOverride> overrides;
  const SigningKey* plan_key;
  const SigningKey* head_key;
  const SigningKey* card_key;
  const SigningKey* manifest_key;
  const SigningKey* override_key;

  // Makes every digest that one document holds of another right again.
  void Link();
  // As the coordinator sends them.
  v1::Assignment Sign() const;
};

// Every card names the plan's initial adapter.
Papers MakePapers(const v1::TaskPlan& plan, const TlsFleet& fleet,
                  uint32_t round, uint32_t attempt);
// An override of the release key for the papers' adapter.
v1::SpentOverride MakeOverride(const Papers& papers, uint32_t extra);
// Dates that ended an hour ago.
void Expire(v1::DocumentHeader* header);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_SECAGG_PAPERS_H_
