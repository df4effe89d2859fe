#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/verbs.h"

namespace edgetune {

void AddVersionVerb(CLI::App& app, Invocation& invocation) {
  AddVerb(app, invocation, "version", "The program's version",
          [&output = invocation.output] {
            return output.Finish({{"version", EDGETUNE_VERSION}},
                                 "edgetune " EDGETUNE_VERSION);
          });
}

}  // namespace edgetune
