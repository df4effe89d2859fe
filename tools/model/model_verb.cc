#include "tools/model/model_verb.h"

#include <CLI/CLI.hpp>

namespace edgetune {

void AddModelVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "model", "Base models");
  AddModelFetchVerb(*group, invocation);
  AddModelImportVerb(*group, invocation);
  AddModelInitVerb(*group, invocation);
  AddModelInspectVerb(*group, invocation);
  AddModelVerifyVerb(*group, invocation);
  AddModelExportVerb(*group, invocation);
  AddModelQuantizeVerb(*group, invocation);
}

}  // namespace edgetune
