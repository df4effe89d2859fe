// edgetune-server: the coordinator daemon. Puts the parts together, then waits
// for signals: TERM and INT end it after the current batch, HUP reads the deny
// file again.

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "config/daemon_files.h"
#include "privacy/identity/kit.h"
#include "privacy/identity/roster_file.h"
#include "server/coordinator.h"
#include "server/rpc/rpc_server.h"
#include "storage/blob_store.h"
#include "storage/database.h"

namespace edgetune {
namespace {

constexpr char kVersion[] = "edgetune-server 0.1.0";

struct Flags {
  std::string config;
  std::string listen;
  std::string kit;
  std::string state;
  std::string deny;
  std::string log;
  std::string port_file;
};

absl::StatusOr<ServerFile> ResolveConfig(const Flags& flags) {
  ServerFile file;
  if (!flags.config.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(file, ReadServerFile(flags.config));
  }
  if (!flags.listen.empty()) file.listen = flags.listen;
  if (!flags.kit.empty()) file.kit = flags.kit;
  if (!flags.state.empty()) file.state = flags.state;
  if (!flags.deny.empty()) file.deny = flags.deny;
  if (!flags.log.empty()) file.log = flags.log;
  const auto missing = [](const char* key) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("{} is not set", key)),
        ErrorKind::kConfig,
        fmt::format("write it in server.toml or pass --{}", key));
  };
  if (file.kit.empty()) return missing("kit");
  if (file.state.empty()) return missing("state");
  return file;
}

// Device ids, one a line; blank lines and lines that begin with '#' are not.
absl::StatusOr<std::vector<std::string>> ReadDenied(const std::string& path) {
  std::vector<std::string> ids;
  if (path.empty()) return ids;
  auto text = ReadFile(path);
  if (!text.ok()) return Annotate(text.status(), ErrorKind::kConfig);
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const size_t end = line.find_last_not_of(" \t\r");
    ids.push_back(line.substr(begin, end - begin + 1));
  }
  return ids;
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

void ReloadDenied(const std::string& path, Coordinator& coordinator) {
  auto denied = ReadDenied(path);
  if (!denied.ok()) {
    LogError(fmt::format("the deny list stays as it was: {}",
                         std::string(denied.status().message())));
    return;
  }
  LogInfo(fmt::format("deny list read again: {} devices", denied->size()));
  coordinator.SetDenied(*std::move(denied));
}

void WaitForEnd(const std::string& deny, Coordinator& coordinator) {
  const sigset_t signals = HandledSignals();
  while (true) {
    int number = 0;
    if (sigwait(&signals, &number) != 0) continue;
    if (number == SIGHUP) {
      ReloadDenied(deny, coordinator);
      continue;
    }
    LogInfo("stopping: finishing the current batch; a restart continues");
    return;
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

// Masked runs need it; without one they are refused when submitted.
absl::StatusOr<std::shared_ptr<const PublishedRoster>> ReadRoster(
    const Kit& kit, const std::string& path, absl::Time now) {
  auto bytes = ReadFile(path);
  if (absl::IsNotFound(bytes.status())) return nullptr;
  EDGETUNE_RETURN_IF_ERROR(bytes.status());
  EDGETUNE_ASSIGN_OR_RETURN(PublishedRoster roster,
                            ParseRosterFile(*bytes, kit.trusted, now));
  return std::make_shared<PublishedRoster>(std::move(roster));
}

std::string HostOf(const std::string& listen) {
  return listen.substr(0, listen.rfind(':'));
}

absl::Status Serve(const Flags& flags) {
  EDGETUNE_ASSIGN_OR_RETURN(const ServerFile file, ResolveConfig(flags));
  LogLevel level;
  if (!ParseLogLevel(file.log, &level)) {
    return Annotate(
        absl::InvalidArgumentError(fmt::format("log is \"{}\"", file.log)),
        ErrorKind::kConfig, "one of debug, info, warning, error, off");
  }
  SetLogLevel(level);
  const RealClock clock;
  EDGETUNE_ASSIGN_OR_RETURN(Kit kit,
                            LoadKit(file.kit, PartyRole::kServer, clock.Now()));
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey round_key, RoundKeyOf(kit));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<std::string> denied,
                            ReadDenied(file.deny));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(file.state, 0700));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto database,
      Database::Open(file.state + "/server.db", Coordinator::Migrations()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto blobs, BlobStore::Open(file.state));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto roster,
      ReadRoster(kit, file.kit + "/roster.pb", clock.Now()));
  Coordinator::Dependencies dependencies{
      database.get(), blobs.get(), &clock, &round_key, kit.trusted,
      roster,         ExitAfterFailedCommit};
  EDGETUNE_ASSIGN_OR_RETURN(const auto coordinator,
                            Coordinator::Make(std::move(dependencies)));
  coordinator->SetDenied(std::move(denied));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto rpc,
      RpcServer::Start(file.listen, kit, coordinator.get(), blobs.get()));
  coordinator->Start();
  LogInfo(fmt::format("listening on {}:{}", HostOf(file.listen), rpc->port()));
  if (!flags.port_file.empty()) {
    EDGETUNE_RETURN_IF_ERROR(
        WriteFileAtomically(flags.port_file, fmt::format("{}\n", rpc->port())));
  }
  WaitForEnd(file.deny, *coordinator);
  coordinator->Stop();
  rpc->Shutdown();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  // Before any thread exists, so that every thread inherits the mask.
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  ForbidCoreDumps();
  Flags flags;
  CLI::App app("The edgetune coordinator", "edgetune-server");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  CLI::App* serve = app.add_subcommand("serve", "serve devices and operators");
  serve->add_option("--config", flags.config, "server.toml");
  serve->add_option("--listen", flags.listen, "host:port (port 0: any)");
  serve->add_option("--kit", flags.kit, "directory of the server's kit");
  serve->add_option("--state", flags.state, "directory of state and blobs");
  serve->add_option("--deny", flags.deny, "file of refused device ids");
  serve->add_option("--log", flags.log, "debug|info|warning|error|off");
  serve->add_option("--port-file", flags.port_file,
                    "write the bound port there once listening");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 4;
  }
  const absl::Status status = Serve(flags);
  if (status.ok()) return 0;
  std::cerr << "error: " << std::string(status.message()) << "\n";
  if (const std::string hint = HintOf(status); !hint.empty()) {
    std::cerr << "hint: " << hint << "\n";
  }
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) { return edgetune::Main(argc, argv); }
