#ifndef EDGETUNE_PROTOS_LOCAL_WORK_H_
#define EDGETUNE_PROTOS_LOCAL_WORK_H_

// What a checked plan makes a device do in a training round, as far as device
// and coordinator must agree on it. Pure, thread-safe.

#include <cstdint>

#include "protos/edgetune/v1/plan.pb.h"
#include "protos/field_checks.h"

namespace edgetune {

// Most optimiser steps of a device in a round.
inline constexpr uint64_t kMostSteps = 100'000;

// Optimiser steps of a round on so many training examples: train.steps, or
// with train.epochs = E ceil(E * examples / batch). The passes of a round come
// one after the other, so a batch may hold the last examples of one and the
// first of the next; only the last batch of the round may be short. May be more
// than kMostSteps: such a device cannot take part.
uint64_t StepsOf(const v1::TrainSpec& train, uint64_t examples);

// Whether devices and coordinator keep control variates (train.objective
// "scaffold", Karimireddy et al. 2020): base/control_variates.h.
bool UsesControls(const v1::TaskPlan& plan);
// Their K lr of such a plan.
double ControlWay(const v1::TrainSpec& train);

// Whether a device keeps a vector of its own between rounds, which moves
// exactly when its update is in the adapter: a control variate, or the factors
// that never leave it (KeepsOwnFactor in protos/plan_check.h). An assignment
// then names its last session that is (Assignment.counted).
bool KeepsOwnVector(const v1::TaskPlan& plan);

// Where the mean loss that rounds.fairness_q asks for must lie, in nats a
// token; a smaller one is reported as the smallest.
inline constexpr double kLeastIncomingLoss = 1e-6;
inline constexpr double kLargestIncomingLoss = 1e4;

// The part of CheckPlan that says what a device minimises and how its result
// is weighed: `train`, rounds.normalise, rounds.fairness_q and fleet.devices.
void CheckLocalWork(const v1::TaskPlan& plan, FieldChecks& check);

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_LOCAL_WORK_H_
