#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/status.h"
#include "privacy/identity/provision.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

constexpr int64_t kMostDevices = 100000;

struct ProvisionVerbOptions {
  int64_t devices = 0;
  std::vector<std::string> tokens;  // names, or one number
  int64_t token_days = 7;
  ProvisionOptions provision;
};

// device-<first> and so on.
void AddNumbered(int64_t first, int64_t count,
                 std::vector<std::string>* names) {
  for (int64_t i = 0; i < count; ++i) {
    names->push_back(fmt::format("device-{}", first + i));
  }
}

absl::Status NameDevices(const ProvisionVerbOptions& options,
                         ProvisionOptions* wish) {
  AddNumbered(1, options.devices, &wish->device_ids);
  const bool is_number =
      options.tokens.size() == 1 &&
      std::all_of(options.tokens[0].begin(), options.tokens[0].end(),
                  [](char c) { return c >= '0' && c <= '9'; });
  if (is_number) {
    const std::string& digits = options.tokens[0];
    const int64_t count = digits.size() <= 6 ? std::stoll("0" + digits) : 0;
    if (count < 1 || count > kMostDevices) {
      return UsageError(fmt::format("--tokens {}: wanted 1 to {}, or names",
                                    digits, kMostDevices),
                        "for example --tokens 3");
    }
    AddNumbered(options.devices + 1, count, &wish->invited_ids);
  } else {
    wish->invited_ids = options.tokens;
  }
  if (wish->device_ids.empty() && wish->invited_ids.empty()) {
    return UsageError(
        "wanted --devices N, --device-ids A,B, --tokens N or --tokens A,B",
        "for example --devices 3");
  }
  return absl::OkStatus();
}

nlohmann::json PathsOf(const std::string& folder,
                       const std::vector<std::string>& names) {
  nlohmann::json paths = nlohmann::json::object();
  for (const std::string& name : names) paths[name] = folder + "/" + name;
  return paths;
}

std::string TextOf(const ProvisionOptions& made) {
  const std::string& out = made.directory;
  std::string text = fmt::format(
      "{0}/server          for the coordinator, at {1}\n"
      "{0}/operator        for you: submits runs, holds the release key\n",
      out, made.server_address);
  if (!made.device_ids.empty()) {
    text += fmt::format("{}/devices/ID      one for each of {} devices\n", out,
                        made.device_ids.size());
  }
  if (!made.invited_ids.empty()) {
    text += fmt::format(
        "{}/invitations/ID  one for each of {} devices, which make their own "
        "keys\n                 with `edgetune-client enroll`\n",
        out, made.invited_ids.size());
  }
  text += fmt::format(
      "{}/enroll          for `edgetune-server enroll`: the CA's key and the "
      "roster's;\n                 keep it on another machine or off-line\n",
      out);
  if (!made.device_ids.empty()) {
    text +=
        "The devices' private keys were made here: move each kit to its "
        "device and\ndelete it here, or use --tokens.\n";
  }
  return text;
}

absl::Status RunProvision(const ProvisionVerbOptions& options,
                          const Output& output) {
  ProvisionOptions wish = options.provision;
  EDGETUNE_RETURN_IF_ERROR(NameDevices(options, &wish));
  wish.token_life = absl::Hours(24 * options.token_days);
  wish.now = absl::Now();
  EDGETUNE_RETURN_IF_ERROR(Annotate(Provision(wish), ErrorKind::kUsage));
  const std::string& out = wish.directory;
  return output.Finish(
      {{"enroll", out + "/enroll"},
       {"server", out + "/server"},
       {"operator", out + "/operator"},
       {"devices", PathsOf(out + "/devices", wish.device_ids)},
       {"invitations", PathsOf(out + "/invitations", wish.invited_ids)},
       {"server_address", wish.server_address}},
      TextOf(wish));
}

}  // namespace

void AddProvisionVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<ProvisionVerbOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "provision",
              "Make the CA and a kit for server, operator and each device",
              [options, &output] { return RunProvision(*options, output); });
  auto* count = verb->add_option("--devices", options->devices,
                                 "This many: device-1, device-2, ...")
                    ->check(CLI::Range(int64_t{1}, kMostDevices));
  verb->add_option("--device-ids", options->provision.device_ids,
                   "Ids of the devices, with commas")
      ->delimiter(',')
      ->excludes(count);
  verb->add_option("--tokens", options->tokens,
                   "So many, or ids with commas: devices that make their own "
                   "keys and enrol with a one-time token")
      ->delimiter(',');
  verb->add_option("--token-days", options->token_days,
                   "How long the tokens are good")
      ->check(CLI::Range(1, 365))
      ->capture_default_str();
  verb->add_option("--server", options->provision.server_address,
                   "host:port that clients dial")
      ->capture_default_str();
  verb->add_option("--enroll", options->provision.enroll_address,
                   "host:port of `edgetune-server enroll`; default: the "
                   "server's host, port 7444");
  verb->add_option("--out", options->provision.directory,
                   "New directory for the kits")
      ->required();
}

}  // namespace edgetune
