#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/status.h"
#include "privacy/identity/kit.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct Options {
  int64_t devices = 0;
  ProvisionOptions provision;
};

absl::Status Run(Options options, const Output& output) {
  ProvisionOptions& wish = options.provision;
  for (int64_t i = 1; i <= options.devices; ++i) {
    wish.device_ids.push_back(fmt::format("device-{}", i));
  }
  if (wish.device_ids.empty()) {
    return Annotate(
        absl::InvalidArgumentError("wanted --devices N or --device-ids A,B"),
        ErrorKind::kUsage, "for example --devices 3");
  }
  wish.now = absl::Now();
  EDGETUNE_RETURN_IF_ERROR(Annotate(Provision(wish), ErrorKind::kUsage));
  const std::string& out = wish.directory;
  nlohmann::json devices = nlohmann::json::object();
  for (const std::string& id : wish.device_ids) {
    devices[id] = out + "/devices/" + id;
  }
  return output.Finish(
      {{"ca", out + "/ca"},
       {"server", out + "/server"},
       {"operator", out + "/operator"},
       {"devices", devices},
       {"server_address", wish.server_address}},
      fmt::format("{0}/server       for the coordinator, at {1}\n"
                  "{0}/operator     for you: submits runs, holds the release "
                  "key\n"
                  "{0}/devices/ID   one for each of {2} devices\n"
                  "{0}/ca           the CA's key: keep it off-line\n"
                  "Kits hold private keys: move each to its place and delete "
                  "it here.\n",
                  out, wish.server_address, wish.device_ids.size()));
}

}  // namespace

void AddProvisionVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      AddVerb(app, invocation, "provision",
              "Make the CA and a kit for server, operator and each device",
              [options, &output] { return Run(*options, output); });
  auto* count = verb->add_option("--devices", options->devices,
                                 "This many: device-1, device-2, ...")
                    ->check(CLI::Range(1, 100000));
  verb->add_option("--device-ids", options->provision.device_ids,
                   "Ids of the devices, with commas")
      ->delimiter(',')
      ->excludes(count);
  verb->add_option("--server", options->provision.server_address,
                   "host:port that clients dial")
      ->capture_default_str();
  verb->add_option("--out", options->provision.directory,
                   "New directory for the kits")
      ->required();
}

}  // namespace edgetune
