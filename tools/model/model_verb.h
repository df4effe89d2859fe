#ifndef EDGETUNE_TOOLS_MODEL_MODEL_VERB_H_
#define EDGETUNE_TOOLS_MODEL_MODEL_VERB_H_

// The verbs of the group `model`, one file each; model_verb.cc gathers them.

#include "tools/verbs.h"

namespace edgetune {

void AddModelFetchVerb(CLI::App& group, Invocation& invocation);
void AddModelImportVerb(CLI::App& group, Invocation& invocation);
void AddModelInitVerb(CLI::App& group, Invocation& invocation);
void AddModelInspectVerb(CLI::App& group, Invocation& invocation);
void AddModelVerifyVerb(CLI::App& group, Invocation& invocation);
void AddModelExportVerb(CLI::App& group, Invocation& invocation);
void AddModelQuantizeVerb(CLI::App& group, Invocation& invocation);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_MODEL_VERB_H_
