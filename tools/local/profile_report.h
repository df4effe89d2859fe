#ifndef EDGETUNE_TOOLS_LOCAL_PROFILE_REPORT_H_
#define EDGETUNE_TOOLS_LOCAL_PROFILE_REPORT_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/step_profile.h"

namespace edgetune {

// Adds what another segment of training took.
void AddProfile(const StepProfile& other, StepProfile& sum);

// Of `steps` > 0 steps: a row a part, ms a step and share, for products also
// operations a step and what came of them a second; then all of it.
std::string ProfileTable(const StepProfile& profile, int64_t steps);
// The same: {"steps", "parts": [{"part", "ms_a_step", "share"}], ...}, with
// "gflop_a_step" and "tflop_a_second" of products.
nlohmann::json ProfileJson(const StepProfile& profile, int64_t steps);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_LOCAL_PROFILE_REPORT_H_
