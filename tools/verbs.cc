#include "tools/verbs.h"

#include <CLI/CLI.hpp>

namespace edgetune {

CLI::App* AddVerb(CLI::App& parent, Invocation& invocation,
                  const std::string& name, const std::string& description,
                  std::function<absl::Status()> action) {
  CLI::App* verb = parent.add_subcommand(name, description);
  Output& output = invocation.output;
  verb->add_option("--format", output.format, "txt or json")
      ->check(CLI::IsMember({"txt", "json"}))
      ->capture_default_str();
  verb->add_flag("--quiet", output.quiet, "No progress on stderr");
  verb->add_flag("--no-color", output.no_color, "As NO_COLOR=1");
  verb->callback([&invocation, action = std::move(action)] {
    invocation.action = action;
  });
  return verb;
}

CLI::App* AddGroup(CLI::App& parent, const std::string& name,
                   const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

}  // namespace edgetune
