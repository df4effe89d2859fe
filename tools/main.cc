// The edgetune program: command line in, exit code out. What each verb does is
// in its own file.

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "tools/verbs.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

void AddVerbs(CLI::App& app, Invocation& invocation) {
  AddDemoVerb(app, invocation);
  AddModelVerbs(app, invocation);
  AddDataVerbs(app, invocation);
  AddCheckVerb(app, invocation);
  AddTrainVerb(app, invocation);
  AddDistillVerb(app, invocation);
  AddEvalVerb(app, invocation);
  AddGenerateVerb(app, invocation);
  AddBenchVerbs(app, invocation);
  AddAdapterVerbs(app, invocation);
  AddPruneVerb(app, invocation);
  AddCompressVerb(app, invocation);
  AddProvisionVerb(app, invocation);
  AddDeviceVerbs(app, invocation);
  AddKitVerbs(app, invocation);
  AddRunVerbs(app, invocation);
  AddReceiptVerbs(app, invocation);
  AddSimulateVerb(app, invocation);
  AddReportVerb(app, invocation);
  AddPlanVerbs(app, invocation);
  AddConfigVerbs(app, invocation);
  AddVersionVerb(app, invocation);
}

// The deepest verb that the arguments name.
CLI::App* DeepestVerb(CLI::App& app) {
  CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

absl::Status NotUnderstood(CLI::App& app, const CLI::ParseError& error,
                           const std::vector<std::string>& arguments) {
  const CLI::App* at = DeepestVerb(app);
  std::vector<std::string> known;
  for (const CLI::App* verb : at->get_subcommands({})) {
    known.push_back(verb->get_name());
  }
  for (const CLI::Option* option : at->get_options()) {
    for (const std::string& name : option->get_lnames()) {
      known.push_back("--" + name);
    }
  }
  std::string message = error.what();
  message = message.substr(0, message.find('\n'));
  // CLI11 only says that a verb is missing when it met an unknown one.
  const std::vector<std::string> rest = at->remaining();
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      !rest.empty() && rest.front().rfind('-', 0) != 0) {
    message = "unknown verb " + rest.front();
  }
  std::string hint;
  for (const std::string& argument : arguments) {
    // Only what was not understood: known words name themselves.
    if (message.find(argument) == std::string::npos) continue;
    const std::string near = ClosestWord(argument, known);
    if (!near.empty() && near != argument) {
      hint = "did you mean " + near + "? ";
    }
  }
  std::string path;
  for (const CLI::App* verb = at; verb != nullptr; verb = verb->get_parent()) {
    path = verb->get_name() + (path.empty() ? "" : " ") + path;
  }
  return Annotate(absl::InvalidArgumentError(message), ErrorKind::kUsage,
                  hint + "see " + path + " --help");
}

// The flag itself, since a command line that was not understood has filled
// nothing in.
bool WantsJson(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--format=json") return true;
    if (arguments[i] == "--format" && i + 1 < arguments.size()) {
      return arguments[i + 1] == "json";
    }
  }
  return false;
}

// A library's exception that slipped through its door is our bug, not a crash.
absl::Status Perform(const Invocation& invocation) {
  try {
    return invocation.action();
  } catch (const std::exception& error) {
    return absl::InternalError(std::string("unexpected: ") + error.what());
  }
}

int Main(int argc, char** argv) {
  // A reader that went away is an error to report, not a signal to die of.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit likewise
  PrepareForEngines();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Invocation invocation;
  CLI::App app("Federated LoRA fine-tuning of small language models",
               "edgetune");
  app.require_subcommand(1);
  AddVerbs(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    if (WantsJson(arguments)) invocation.output.format = "json";
    const absl::Status status = NotUnderstood(app, error, arguments);
    invocation.output.Error(status);
    return ExitCodeOf(status);
  }
  SetLogLevel(LogLevel::kWarning);
  const absl::Status status = Perform(invocation);
  if (!status.ok()) invocation.output.Error(status);
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) { return edgetune::Main(argc, argv); }
