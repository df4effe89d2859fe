#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "config/run_file.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct ConfigOptions {
  std::string run_file;
  std::vector<std::string> sets;
  bool origin = false;
};

absl::Status Show(const ConfigOptions& options, const Output& output) {
  std::vector<ConfigOrigin> origins;
  EDGETUNE_RETURN_IF_ERROR(ReadRunFile(options.run_file, options.sets,
                                       EdgetuneEnvironment(), &origins));
  nlohmann::json keys = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows;
  for (const ConfigOrigin& key : origins) {
    keys.push_back(
        {{"key", key.key}, {"value", key.value}, {"origin", key.origin}});
    rows.push_back({key.key, "= " + key.value});
    if (options.origin) rows.back().push_back("# " + key.origin);
  }
  return output.Finish({{"keys", keys}}, FormatTable(rows));
}

}  // namespace

void AddConfigVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "config", "Settings");
  const Output& output = invocation.output;
  auto options = std::make_shared<ConfigOptions>();
  CLI::App* verb = AddVerb(
      *group, invocation, "show", "Every key of a run file as it is resolved",
      [options, &output] { return Show(*options, output); });
  verb->add_option("run_file", options->run_file,
                   "Run file (TOML); without one, the defaults");
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_flag("--origin", options->origin, "Say where each value is from");
}

}  // namespace edgetune
