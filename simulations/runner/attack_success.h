#ifndef EDGETUNE_SIMULATIONS_RUNNER_ATTACK_SUCCESS_H_
#define EDGETUNE_SIMULATIONS_RUNNER_ATTACK_SUCCESS_H_

#include "absl/status/statusor.h"
#include "models/io/adapter/adapter_file.h"
#include "simulations/adversary/backdoor.h"
#include "simulations/runner/measuring.h"

namespace edgetune {

// How often a backdoor opens: of the first rounds.eval_examples held-out
// examples of each client, see ScoreBackdoor. With the initial adapter it says
// what is so without any attack.
struct AttackSuccess {
  BackdoorScore initial, trained;
};

struct AttackTask {
  const Backdoor& backdoor;
  const Adapter& initial;
  const Adapter& trained;
};
// Deterministic, whatever the workers. Errors of reading and scoring;
// Cancelled.
absl::StatusOr<AttackSuccess> MeasureAttack(const AttackTask& task,
                                            Measuring& measuring);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_RUNNER_ATTACK_SUCCESS_H_
