#ifndef EDGETUNE_TOOLS_FEDERATION_RUN_REPORT_H_
#define EDGETUNE_TOOLS_FEDERATION_RUN_REPORT_H_

// A run's status as people and programs read it. Stateless.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "tools/progress.h"

namespace edgetune {

std::string_view RunStateName(v1::RunStatus::State state);  // "running"
// Waits for an operator's decision, and what that may be.
bool IsPaused(const v1::RunStatus& status);
std::string PausedAdvice(const v1::RunStatus& status);
// exp(nll / tokens) of each measured version, oldest first.
std::vector<double> PerplexitiesOf(const v1::RunStatus& status);

nlohmann::json RunJson(const v1::RunStatus& status);
std::string RunText(const v1::RunStatus& status);
std::string RunTable(const std::vector<v1::RunStatus>& runs);

// Progress while it runs: a block for a terminal, one line for a log.
// `elapsed` in seconds since it began, for the time left.
std::vector<std::string> RunBlock(const v1::RunStatus& status, double elapsed);
std::string RunLine(const v1::RunStatus& status, double elapsed);

// One lasting line for each version measured since `told` of them were.
void SayPerplexities(const v1::RunStatus& status, size_t& told,
                     LiveBlock& block);

// OK for a run that finished; kNotEnoughClients or kFailed otherwise.
absl::Status OutcomeOf(const v1::RunStatus& status);

// Hexadecimal, at least 8 digits; kUsage.
absl::StatusOr<std::string> ParseRunId(const std::string& hex);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_RUN_REPORT_H_
