#ifndef EDGETUNE_TOOLS_VERBS_H_
#define EDGETUNE_TOOLS_VERBS_H_

// How the program finds its verbs: each file adds its own to the command line
// and sets, when parsed, what is to be done. Nothing happens while parsing.

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "tools/output.h"

namespace CLI {
class App;
}

namespace edgetune {

// One invocation. `action` is what the parsed verb asks for.
struct Invocation {
  Output output;
  std::function<absl::Status()> action;
};

// A verb that does something: adds it to `parent` with the options that all
// have (--format, --quiet, --no-color). The returned App takes the verb's own
// options; it belongs to `parent`. Options live in shared_ptrs held by
// `action`.
CLI::App* AddVerb(CLI::App& parent, Invocation& invocation,
                  const std::string& name, const std::string& description,
                  std::function<absl::Status()> action);
// A group of verbs ("model"), one of which must follow.
CLI::App* AddGroup(CLI::App& parent, const std::string& name,
                   const std::string& description);

void AddModelVerbs(CLI::App& app, Invocation& invocation);
void AddDataVerbs(CLI::App& app, Invocation& invocation);
// `data`'s own: inspect and stats, split.
void AddDataInspectVerbs(CLI::App& group, Invocation& invocation);
void AddMnistVerb(CLI::App& group, Invocation& invocation);
void AddDataSplitVerb(CLI::App& group, Invocation& invocation);
void AddCheckVerb(CLI::App& app, Invocation& invocation);
void AddTrainVerb(CLI::App& app, Invocation& invocation);
void AddDistillVerb(CLI::App& app, Invocation& invocation);
void AddEvalVerb(CLI::App& app, Invocation& invocation);
void AddGenerateVerb(CLI::App& app, Invocation& invocation);
void AddBenchVerbs(CLI::App& app, Invocation& invocation);
void AddAdapterVerbs(CLI::App& app, Invocation& invocation);
void AddPruneVerb(CLI::App& app, Invocation& invocation);
void AddCompressVerb(CLI::App& app, Invocation& invocation);
void AddProvisionVerb(CLI::App& app, Invocation& invocation);
void AddDeviceVerbs(CLI::App& app, Invocation& invocation);
void AddKitVerbs(CLI::App& app, Invocation& invocation);
void AddRunVerbs(CLI::App& app, Invocation& invocation);
void AddReceiptVerbs(CLI::App& app, Invocation& invocation);
void AddSimulateVerb(CLI::App& app, Invocation& invocation);
void AddReportVerb(CLI::App& app, Invocation& invocation);
void AddPlanVerbs(CLI::App& app, Invocation& invocation);
void AddConfigVerbs(CLI::App& app, Invocation& invocation);
void AddVersionVerb(CLI::App& app, Invocation& invocation);
void AddDemoVerb(CLI::App& app, Invocation& invocation);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_VERBS_H_
