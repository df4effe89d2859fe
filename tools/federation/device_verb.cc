#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/invitation.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct DeviceOptions {
  std::string enroll_kit;
  std::string name;
  std::string deny;     // file to add a revoked device to
  std::string publish;  // file to copy the roster to
  std::string out;      // of an invitation
  int64_t token_days = 7;
};

std::string DateText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::UTCTimeZone());
}

std::string_view StatusText(const v1::RosterEntry& entry) {
  return entry.status() == v1::RosterEntry::ACTIVE ? "active" : "revoked";
}

// --- list

absl::Status List(const DeviceOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const EnrollmentKit kit,
      EnrollmentKit::Load(options.enroll_kit, absl::Now()));
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster, kit.ReadRoster());
  EDGETUNE_ASSIGN_OR_RETURN(const auto expiries, kit.ReadExpiries());
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "ENROLLED (UTC)", "STATUS", "CERTIFICATE ENDS (UTC)"}};
  auto devices = nlohmann::json::array();
  for (const v1::RosterEntry& entry : roster.roster.entries()) {
    const auto expiry = expiries.find(entry.name());
    const bool known = expiry != expiries.end();
    nlohmann::json device = {{"name", entry.name()},
                             {"id", ToHex(entry.client_id())},
                             {"enrolled_ms", entry.enrolled_ms()},
                             {"status", std::string(StatusText(entry))}};
    if (known) {
      device["certificate_expires_ms"] = absl::ToUnixMillis(expiry->second);
    }
    devices.push_back(std::move(device));
    rows.push_back({entry.name(), ToHex(entry.client_id()),
                    DateText(absl::FromUnixMillis(entry.enrolled_ms())),
                    std::string(StatusText(entry)),
                    known ? DateText(expiry->second) : "unknown"});
  }
  const absl::Time expires =
      absl::FromUnixMillis(roster.head.header().expires_ms());
  return output.Finish(
      {{"version", roster.head.version()},
       {"expires_ms", absl::ToUnixMillis(expires)},
       {"devices", devices}},
      fmt::format("{}version {} of the roster, good until {} "
                  "UTC\n",
                  FormatTable(rows), roster.head.version(), DateText(expires)));
}

absl::Status CopyRoster(const DeviceOptions& options) {
  if (options.publish.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes,
                            ReadFile(options.enroll_kit + "/roster.pb"));
  return WriteFileAtomically(options.publish, bytes, 0644);
}

// --- publish

absl::Status Publish(const DeviceOptions& options, const Output& output) {
  const absl::Time now = absl::Now();
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollmentKit kit,
                            EnrollmentKit::Load(options.enroll_kit, now));
  EDGETUNE_ASSIGN_OR_RETURN(
      const PublishedRoster roster,
      kit.ChangeRoster(now, [](auto&) { return absl::OkStatus(); }));
  EDGETUNE_RETURN_IF_ERROR(CopyRoster(options));
  const absl::Time expires =
      absl::FromUnixMillis(roster.head.header().expires_ms());
  return output.Finish(
      {{"roster", options.publish},
       {"version", roster.head.version()},
       {"expires_ms", absl::ToUnixMillis(expires)}},
      fmt::format("{} is version {} of the roster, good until {} UTC\n",
                  options.publish, roster.head.version(), DateText(expires)));
}

// --- revoke

absl::Status Revoke(const std::string& name,
                    std::vector<v1::RosterEntry>& entries) {
  std::vector<std::string> names;
  for (v1::RosterEntry& entry : entries) {
    names.push_back(entry.name());
    if (entry.name() != name) continue;
    entry.set_status(v1::RosterEntry::REVOKED);
    return absl::OkStatus();
  }
  const std::string near = ClosestWord(name, names);
  return Annotate(
      absl::NotFoundError(fmt::format("the roster has no device '{}'", name)),
      ErrorKind::kUsage,
      near.empty() ? "`edgetune device list` shows the names"
                   : fmt::format("did you mean {}?", near));
}

// Adds a line, unless it is there.
absl::Status AddToDenyList(const std::string& path, const std::string& name) {
  std::string text;
  auto old = ReadFile(path);
  if (old.ok()) {
    text = *std::move(old);
  } else if (!absl::IsNotFound(old.status())) {
    return old.status();
  }
  if (fmt::format("\n{}", text).find(fmt::format("\n{}\n", name)) !=
      std::string::npos) {
    return absl::OkStatus();
  }
  if (!text.empty() && text.back() != '\n') text += '\n';
  return WriteFileAtomically(path, text + name + "\n", 0644);
}

std::string NextSteps(const DeviceOptions& options) {
  std::string text;
  if (options.publish.empty()) {
    text += fmt::format(
        "Next: `edgetune-server enroll` publishes it if it runs on this kit; "
        "else copy\n      {}/roster.pb to where server.toml's `roster` "
        "points.\n",
        options.enroll_kit);
  }
  if (options.deny.empty()) {
    text += fmt::format(
        "      At once, without the roster: add the line {} to the file that "
        "server.toml's\n      `deny` names.\n",
        options.name);
  }
  return text +
         "The coordinator reads both again within a second: the device "
         "is refused from its\nnext message.\n";
}

absl::Status RunRevoke(const DeviceOptions& options, const Output& output) {
  const absl::Time now = absl::Now();
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollmentKit kit,
                            EnrollmentKit::Load(options.enroll_kit, now));
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster,
                            kit.ChangeRoster(now, [&](auto& entries) {
                              return Revoke(options.name, entries);
                            }));
  if (!options.deny.empty()) {
    EDGETUNE_RETURN_IF_ERROR(AddToDenyList(options.deny, options.name));
  }
  EDGETUNE_RETURN_IF_ERROR(CopyRoster(options));
  return output.Finish(
      {{"name", options.name}, {"version", roster.head.version()}},
      fmt::format("{} is revoked in version {} of the roster.\n{}",
                  options.name, roster.head.version(), NextSteps(options)));
}

// --- invite

absl::Status Invite(const DeviceOptions& options, const Output& output) {
  const absl::Time now = absl::Now();
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollmentKit kit,
                            EnrollmentKit::Load(options.enroll_kit, now));
  EDGETUNE_ASSIGN_OR_RETURN(
      NewInvitation made,
      MakeInvitation(kit.kit(), options.name,
                     now + absl::Hours(24 * options.token_days)));
  // First the record: an invitation that nobody honours is worse than none.
  EDGETUNE_RETURN_IF_ERROR(kit.AddTokens({made.record}));
  const absl::Status written = WriteInvitation(options.out, made.invitation);
  WipeString(made.invitation.token);
  EDGETUNE_RETURN_IF_ERROR(written);
  return output.Finish(
      {{"name", options.name},
       {"invitation", options.out},
       {"expires_ms", absl::ToUnixMillis(made.invitation.expires)}},
      fmt::format("{} holds a one-time token, good until {} UTC: carry it to "
                  "the device, there\n  edgetune-client enroll --bundle DIR "
                  "--out KIT\n",
                  options.out, DateText(made.invitation.expires)));
}

CLI::App* AddDeviceVerb(CLI::App& group, Invocation& invocation,
                        std::pair<const char*, const char*> name_and_help,
                        std::shared_ptr<DeviceOptions> options,
                        absl::Status (*run)(const DeviceOptions&,
                                            const Output&)) {
  const Output& output = invocation.output;
  CLI::App* verb =
      AddVerb(group, invocation, name_and_help.first, name_and_help.second,
              [options, run, &output] { return run(*options, output); });
  verb->add_option("--enroll-kit", options->enroll_kit,
                   "Directory of the enrolment kit")
      ->required();
  return verb;
}

}  // namespace

void AddDeviceVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(
      app, "device", "Who may take part: list, invite, revoke, publish");
  auto options = std::make_shared<DeviceOptions>();
  AddDeviceVerb(*group, invocation, {"list", "Devices of the roster"}, options,
                &List);
  CLI::App* publish =
      AddDeviceVerb(*group, invocation,
                    {"publish", "Sign the roster again, as it is, for 30 days"},
                    options, &Publish);
  publish
      ->add_option("--to", options->publish,
                   "File that the coordinator reads: server.toml's `roster`, "
                   "or roster.pb of its kit")
      ->required();
  CLI::App* revoke = AddDeviceVerb(
      *group, invocation,
      {"revoke", "Sign a roster in which a device is revoked, for good"},
      options, &RunRevoke);
  revoke->add_option("name", options->name, "The device")->required();
  revoke->add_option("--deny", options->deny,
                     "Add the device to this deny list too");
  revoke->add_option("--publish", options->publish,
                     "Copy the roster there, where the coordinator reads it");
  CLI::App* invite =
      AddDeviceVerb(*group, invocation,
                    {"invite", "Make a one-time token for one more device"},
                    options, &Invite);
  invite->add_option("name", options->name, "The device")->required();
  invite->add_option("--out", options->out, "New directory for the invitation")
      ->required();
  invite
      ->add_option("--token-days", options->token_days,
                   "How long the token is good")
      ->check(CLI::Range(1, 365))
      ->capture_default_str();
}

}  // namespace edgetune
