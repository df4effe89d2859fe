#ifndef EDGETUNE_TOOLS_OWN_PROCESS_H_
#define EDGETUNE_TOOLS_OWN_PROCESS_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace edgetune {

// The data that a command of this program answers with, run in a process of its
// own, whose memory and time are then that command's alone. `arguments` without
// the program and the options of output. kFailed: it failed, with what it said;
// Cancelled: an interrupt came, which ends it.
absl::StatusOr<nlohmann::json> AskThisProgram(
    std::vector<std::string> arguments);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_OWN_PROCESS_H_
