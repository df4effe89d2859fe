#ifndef EDGETUNE_PROTOS_PLAN_CHECK_RULES_H_
#define EDGETUNE_PROTOS_PLAN_CHECK_RULES_H_

// Part of CheckPlan: what a LoRA rule wants of the rest of the plan. Nobody but
// plan_check.cc calls it.

#include "protos/edgetune/v1/plan.pb.h"
#include "protos/field_checks.h"

namespace edgetune {

// lora.rule, a word that is known, beside masking, combining and weighing.
void CheckLoraRule(const v1::TaskPlan& plan, FieldChecks& check);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_PLAN_CHECK_RULES_H_
