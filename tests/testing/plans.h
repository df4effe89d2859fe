#ifndef EDGETUNE_TESTS_TESTING_PLANS_H_
#define EDGETUNE_TESTS_TESTING_PLANS_H_

#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

// A plan that CheckPlan accepts, every field set: 3 rounds, cohort 4, rank 2 on
// q_proj and v_proj of two layers (hidden size 4, two of four heads shared),
// 56 coordinates. Digests are 32 equal bytes. Tests change what they need.
v1::TaskPlan ValidPlan();

// The same with masking: n_min 4, b = 32, quorum 3 of 4.
v1::TaskPlan MaskedPlan();

// Makes any plan one of objective "scaffold" over so many devices.
void UseScaffold(v1::TaskPlan& plan, uint32_t devices);

// A training manifest and the card of version 1 that fit ValidPlan.
v1::RoundManifest ValidManifest();
v1::ModelCard ValidCard();

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_TESTING_PLANS_H_
