#ifndef EDGETUNE_PROTOS_FULL_TRAINING_H_
#define EDGETUNE_PROTOS_FULL_TRAINING_H_

// Plans that train all parameters of a model of images (lora.rule "full"). What
// other plans call the adapter is then the change of the base's weights, which
// begins as zeros. Pure, thread-safe.

#include "protos/edgetune/v1/plan.pb.h"
#include "protos/field_checks.h"

namespace edgetune {

bool TrainsAll(const v1::TaskPlan& plan);

// The part of CheckPlan for such plans alone: files of the base, `lora`, `data`
// and what of `train` no vision trainer does.
void CheckFullTraining(const v1::TaskPlan& plan, FieldChecks& check);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_FULL_TRAINING_H_
