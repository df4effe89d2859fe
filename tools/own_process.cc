#include "tools/own_process.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "tools/child_process.h"

namespace edgetune {

absl::StatusOr<nlohmann::json> AskThisProgram(
    std::vector<std::string> arguments) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto folder,
                            TemporaryDirectory::Make("", "edgetune-step-"));
  const std::string verb = arguments.front(), log = folder->path() + "/log";
  arguments.insert(arguments.begin(), "/proc/self/exe");
  arguments.insert(arguments.end(), {"--format", "json", "--quiet"});
  EDGETUNE_ASSIGN_OR_RETURN(const auto child,
                            ChildProcess::Start({arguments, {}, log}));
  while (!child->Poll()) {
    if (Interrupted()) {
      child->Stop(absl::Seconds(5));
      return InterruptedError("nothing was written");
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  EDGETUNE_ASSIGN_OR_RETURN(const std::string text, ReadFile(log));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (child->ended().exit_code == 0 && json.is_object() &&
      json.contains("data")) {
    return json["data"];
  }
  const bool told = json.is_object() && json.contains("message");
  return Annotate(
      absl::FailedPreconditionError(fmt::format(
          "edgetune {}: {}", verb,
          told ? json["message"].get<std::string>() : LastLines(log, 3))),
      ErrorKind::kFailed);
}

}  // namespace edgetune
