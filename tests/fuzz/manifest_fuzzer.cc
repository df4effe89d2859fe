// What a device believes of an assignment: every document in it, the chain of
// adapters, the terms of masking. Input: Assignment.

#include "client/assignment.h"
#include "privacy/identity/roster.h"
#include "privacy/secagg/masked_vector.h"
#include "protos/plan_check.h"
#include "tests/fuzz/documents.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

// Each by itself, so that a fault in one does not hide the others.
void ParseEach(const v1::Assignment& assignment) {
  const auto plan = ParsePlan(assignment.plan().payload());
  if (plan.ok()) {
    PlanNotes(*plan);
    for (const uint32_t round : {0u, 1u, plan->rounds().count()}) {
      for (const auto kind :
           {v1::RoundManifest::TRAIN, v1::RoundManifest::EVAL}) {
        const auto shape = MaskedShapeOf(*plan, round, kind);
        Require(!shape.ok() || secagg::CheckShape(*shape).ok(),
                "an accepted plan leads to lanes that cannot wrap");
      }
    }
  }
  static_cast<void>(ParseManifest(assignment.manifest().payload()));
  static_cast<void>(ParseRosterHead(assignment.roster().payload()));
  for (const v1::Envelope& card : assignment.cards()) {
    static_cast<void>(ParseCard(card.payload()));
  }
  for (const v1::Envelope& document : assignment.overrides()) {
    static_cast<void>(ParseOverride(document.payload()));
  }
}

void RequireTerms(const VerifiedAssignment& verified) {
  const MaskedTerms& terms = *verified.masking;
  Require(secagg::CheckShape(terms.shape).ok(), "lanes that cannot wrap");
  Require(terms.shape.coordinates == verified.manifest.coordinates(),
          "coordinates as the manifest says");
  Require(terms.shape.n_min >= kSecAggSmallestCohort, "no small cohorts");
  Require(terms.history.cards.size() == verified.manifest.round() + size_t{1},
          "a card for every round and the one before the first");
  Require(terms.history.allowed >= 1, "a contribution is allowed");
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t>) {
  return {0, std::make_unique<v1::Assignment>(),
          [](google::protobuf::Message& message) {
            LinkAssignment(static_cast<v1::Assignment&>(message));
          }};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  v1::Assignment assignment;
  if (!Parse({data, size}, assignment)) return 0;
  ParseEach(assignment);
  ClaimedId(assignment);
  ClientFile file;
  file.policy.min_cohort = 4;
  const auto verified =
      VerifyAssignment(assignment, TheSigners().keys, file, DocumentTime());
  if (verified.ok() && verified->masking) RequireTerms(*verified);
  return 0;
}
