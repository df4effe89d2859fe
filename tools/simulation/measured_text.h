#ifndef EDGETUNE_TOOLS_SIMULATION_MEASURED_TEXT_H_
#define EDGETUNE_TOOLS_SIMULATION_MEASURED_TEXT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "simulations/runner/simulation.h"

namespace edgetune {

// What was measured after a simulated run; nothing of what was not. Stateless.

// A line for each baseline, one for whom they are of, one for a backdoor.
std::string MeasuredText(const Simulation::Measured& measured);
// "baselines": {"clients", "of", "local", "central", "federated"}, each of the
// three {"perplexity", "mean_perplexity"}; "attack_success": {"prompts",
// "initial", "trained"}, the last two shares of prompts, null of no prompt.
void AddMeasured(const Simulation::Measured& measured, nlohmann::json& data);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_SIMULATION_MEASURED_TEXT_H_
