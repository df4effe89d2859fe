// edgetune-server: the coordinator (`serve`) and, as a process of its own, the
// enrolment service (`enroll`). Puts the parts together, then waits for
// signals: TERM and INT end it after what is under way, HUP makes it read the
// files again that say who may take part.

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/terminal_text.h"
#include "config/daemon_files.h"
#include "privacy/identity/enrollment_kit.h"
#include "privacy/identity/kit.h"
#include "server/access_files.h"
#include "server/coordinator.h"
#include "server/enrollment.h"
#include "server/rpc/enrollment_server.h"
#include "server/rpc/rpc_server.h"
#include "storage/blob_store.h"
#include "storage/database.h"

namespace edgetune {
namespace {

constexpr char kVersion[] = "edgetune-server 0.1.0";
// How often files are asked whether they changed.
constexpr timespec kPoll = {1, 0};

struct Flags {
  std::string config;
  std::string listen;
  std::string kit;
  std::string state;
  std::string deny;
  std::string roster;
  std::string publish;
  std::string log;
  std::string port_file;
};

void Override(const std::string& flag, std::string* value) {
  if (!flag.empty()) *value = flag;
}

// What both files must say, and the level of the log.
absl::Status CheckCommon(const std::string& kit, const std::string& state,
                         const std::string& log) {
  for (const auto& [key, value] :
       {std::pair("kit", &kit), std::pair("state", &state)}) {
    if (!value->empty()) continue;
    return Annotate(
        absl::InvalidArgumentError(fmt::format("{} is not set", key)),
        ErrorKind::kConfig,
        fmt::format("write it in the TOML file or pass --{}", key));
  }
  LogLevel level;
  if (!ParseLogLevel(log, &level)) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("log is \"{}\"", log)),
        ErrorKind::kConfig, "one of debug, info, warning, error, off");
  }
  SetLogLevel(level);
  return absl::OkStatus();
}

absl::StatusOr<ServerFile> ResolveConfig(const Flags& flags) {
  ServerFile file;
  if (!flags.config.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(file, ReadServerFile(flags.config));
  }
  Override(flags.listen, &file.listen);
  Override(flags.kit, &file.kit);
  Override(flags.state, &file.state);
  Override(flags.deny, &file.deny);
  Override(flags.roster, &file.roster);
  Override(flags.log, &file.log);
  if (file.roster.empty()) file.roster = file.kit + "/roster.pb";
  EDGETUNE_RETURN_IF_ERROR(CheckCommon(file.kit, file.state, file.log));
  return file;
}

absl::StatusOr<EnrollFile> ResolveEnroll(const Flags& flags) {
  EnrollFile file;
  if (!flags.config.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(file, ReadEnrollFile(flags.config));
  }
  Override(flags.listen, &file.listen);
  Override(flags.kit, &file.kit);
  Override(flags.state, &file.state);
  Override(flags.publish, &file.publish);
  Override(flags.log, &file.log);
  EDGETUNE_RETURN_IF_ERROR(CheckCommon(file.kit, file.state, file.log));
  return file;
}

// Keys are in memory: never let them reach a core file.
void ForbidCoreDumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

// A failed commit: what it promised must not be said to anyone, so the process
// goes at once; its supervisor starts it again and it recovers.
[[noreturn]] void ExitAfterFailedCommit(const absl::Status& status) {
  LogError(fmt::format("stopping at once: {}", std::string(status.message())));
  const std::string hint = HintOf(status);
  if (!hint.empty()) LogError("hint: " + hint);
  std::_Exit(ExitCodeOf(status));
}

// Until a signal ends the process; `poll` is called about once a second, with
// true after a SIGHUP.
void WaitForEnd(const std::function<void(bool)>& poll) {
  const sigset_t signals = HandledSignals();
  while (true) {
    const int number = sigtimedwait(&signals, nullptr, &kPoll);
    if (number == SIGTERM || number == SIGINT) return;
    poll(number == SIGHUP);
  }
}

absl::StatusOr<SigningKey> RoundKeyOf(Kit& kit) {
  if (!kit.round_key_pem.has_value()) {
    return Annotate(absl::FailedPreconditionError("the kit has no round key"),
                    ErrorKind::kIdentity,
                    "pass the server's kit, not a device's or an operator's");
  }
  auto key = SigningKey::FromPem(*kit.round_key_pem);
  WipeString(*kit.round_key_pem);
  if (!key.ok()) return Annotate(key.status(), ErrorKind::kIdentity);
  return key;
}

std::string ListenHost(const std::string& listen) {
  return listen.substr(0, listen.rfind(':'));
}

absl::Status TellPort(const Flags& flags, const std::string& listen, int port) {
  LogInfo(fmt::format("listening on {}:{}", ListenHost(listen), port));
  if (flags.port_file.empty()) return absl::OkStatus();
  return WriteFileAtomically(flags.port_file, fmt::format("{}\n", port));
}

absl::Status Serve(const Flags& flags) {
  EDGETUNE_ASSIGN_OR_RETURN(const ServerFile file, ResolveConfig(flags));
  const RealClock clock;
  EDGETUNE_ASSIGN_OR_RETURN(Kit kit,
                            LoadKit(file.kit, PartyRole::kServer, clock.Now()));
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey round_key, RoundKeyOf(kit));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(file.state, 0700));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto database,
      Database::Open(file.state + "/server.db", Coordinator::Migrations()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blobs, BlobStore::Open(file.state));
  Coordinator::Dependencies dependencies{database.get(), blobs.get(),
                                         &clock,         &round_key,
                                         kit.trusted,    ExitAfterFailedCommit};
  EDGETUNE_ASSIGN_OR_RETURN(const auto coordinator,
                            Coordinator::Make(std::move(dependencies)));
  AccessFiles access({file.roster, file.deny, kit.trusted, &clock,
                      database.get(), ExitAfterFailedCommit});
  EDGETUNE_RETURN_IF_ERROR(access.Load(*coordinator));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rpc,
      RpcServer::Start(file.listen, kit, coordinator.get(), blobs.get()));
  coordinator->Start();
  EDGETUNE_RETURN_IF_ERROR(TellPort(flags, file.listen, rpc->port()));
  WaitForEnd([&](bool force) { access.Poll(*coordinator, force); });
  LogInfo("stopping: finishing the current batch; a restart continues");
  coordinator->Stop();
  rpc->Shutdown();
  return absl::OkStatus();
}

absl::Status Enroll(const Flags& flags) {
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollFile file, ResolveEnroll(flags));
  const RealClock clock;
  EDGETUNE_ASSIGN_OR_RETURN(const EnrollmentKit kit,
                            EnrollmentKit::Load(file.kit, clock.Now()));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(file.state, 0700));
  EDGETUNE_ASSIGN_OR_RETURN(const auto database,
                            Database::Open(file.state + "/enroll.db",
                                           EnrollmentOffice::Migrations()));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto office,
      EnrollmentOffice::Open({.kit = &kit,
                              .database = database.get(),
                              .clock = &clock,
                              .publish = file.publish,
                              .failures_per_minute = file.failures_per_minute,
                              .fatal = ExitAfterFailedCommit}));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rpc,
      EnrollmentServer::Start(file.listen, kit.kit(), office.get()));
  EDGETUNE_RETURN_IF_ERROR(TellPort(flags, file.listen, rpc->port()));
  WaitForEnd([&](bool) {
    const absl::Status status = office->Tick();
    if (!status.ok()) LogError(std::string(status.message()));
  });
  rpc->Shutdown();
  return absl::OkStatus();
}

void AddOptions(CLI::App& verb, const char* file, Flags& flags) {
  verb.add_option("--config", flags.config, file);
  verb.add_option("--listen", flags.listen, "host:port (port 0: any)");
  verb.add_option("--kit", flags.kit, "directory of the kit");
  verb.add_option("--state", flags.state, "directory of what must survive");
  verb.add_option("--log", flags.log, "debug|info|warning|error|off");
  verb.add_option("--port-file", flags.port_file,
                  "write the bound port there once listening");
}

int Main(int argc, char** argv) {
  // Before any thread exists, so that every thread inherits the mask.
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  ForbidCoreDumps();
  Flags flags;
  CLI::App app("The edgetune coordinator and its enrolment service",
               "edgetune-server");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  CLI::App* serve = app.add_subcommand("serve", "serve devices and operators");
  AddOptions(*serve, "server.toml", flags);
  serve->add_option("--deny", flags.deny, "file of refused device ids");
  serve->add_option("--roster", flags.roster,
                    "file that enrolment publishes; default: KIT/roster.pb");
  CLI::App* enroll = app.add_subcommand(
      "enroll", "enrol devices: tokens in, certificates and rosters out");
  AddOptions(*enroll, "enroll.toml", flags);
  enroll->add_option("--publish", flags.publish,
                     "copy each roster there, for the coordinator");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 4;
  }
  const absl::Status status = enroll->parsed() ? Enroll(flags) : Serve(flags);
  if (status.ok()) return 0;
  std::cerr << "error: " << TerminalText(std::string(status.message())) << "\n";
  if (const std::string hint = HintOf(status); !hint.empty()) {
    std::cerr << "hint: " << TerminalText(hint) << "\n";
  }
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) { return edgetune::Main(argc, argv); }
