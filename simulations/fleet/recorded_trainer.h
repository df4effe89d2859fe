#ifndef EDGETUNE_SIMULATIONS_FLEET_RECORDED_TRAINER_H_
#define EDGETUNE_SIMULATIONS_FLEET_RECORDED_TRAINER_H_

#include <memory>
#include <string>

#include "simulations/fleet/step_journal.h"
#include "training/trainer.h"

namespace edgetune {

// `trainer`, but that what it gave once is taken from `journal` (borrowed), and
// what it gives is put there. Nothing is kept of a step that was stopped or
// failed, nor of a training with a profile. `task`: what decides a result and
// no trainer can see (SegmentDigest), among it how the trainer was made.
std::unique_ptr<Trainer> MakeRecordedTrainer(std::unique_ptr<Trainer> trainer,
                                             std::string task,
                                             StepJournal* journal);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_FLEET_RECORDED_TRAINER_H_
