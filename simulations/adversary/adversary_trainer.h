#ifndef EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARY_TRAINER_H_
#define EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARY_TRAINER_H_

#include <functional>
#include <memory>

#include "training/trainer.h"

namespace edgetune {

// The trainer of whichever worker calls.
using TrainerOf = std::function<Trainer&()>;

// Trainers that lie about what they learnt, around an honest one. Scores are
// the honest one's. Used as a Trainer is: by one thread at a time.

// The honest update times `factor`; -1: towards more loss. Losses, steps and
// checkpoints are the honest ones.
std::unique_ptr<Trainer> MakeScalingTrainer(double factor, TrainerOf trainer);

// Deviation of a free rider's coordinates: about what one of Adam's first steps
// moves each by at the default rate.
inline constexpr double kFreeRiderDeviation = 1e-3;

// Trains nothing (Fraboni et al. 2021, "Free-rider Attacks on Model Aggregation
// in Federated Learning", section 3.2: the incoming parameters and noise): its
// update is independent normal, a function of the segment's seed. It claims all
// steps, and as its loss that of the incoming adapter on the first examples, of
// one batch.
std::unique_ptr<Trainer> MakeFreeRider(TrainerOf trainer);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_ADVERSARY_ADVERSARY_TRAINER_H_
