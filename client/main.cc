// edgetune-client: one device's daemon, and its composition root.

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/terminal_text.h"
#include "client/client.h"
#include "client/grpc/enrollment_client.h"
#include "client/grpc/grpc_transport.h"
#include "client/status_file.h"
#include "config/daemon_files.h"
#include "privacy/identity/invitation.h"
#include "privacy/identity/kit.h"
#include "storage/blob_store.h"
#include "storage/database.h"
#include "training/engine_loader.h"

namespace edgetune {
namespace {

struct Arguments {
  std::string config, server, kit, state, cache, data, heldout, population;
  std::string enroll, bundle, out;
  int64_t threads = -1;
  std::string format = "txt";
};

// Flags win over the file.
absl::StatusOr<ClientFile> Resolve(const Arguments& arguments) {
  EDGETUNE_ASSIGN_OR_RETURN(ClientFile file, ReadClientFile(arguments.config));
  const auto take = [](const std::string& flag, std::string& value) {
    if (!flag.empty()) value = flag;
  };
  take(arguments.server, file.server);
  take(arguments.enroll, file.enroll);
  take(arguments.kit, file.kit);
  take(arguments.state, file.state);
  take(arguments.cache, file.cache);
  take(arguments.data, file.data.train);
  take(arguments.heldout, file.data.heldout);
  take(arguments.population, file.population);
  if (arguments.threads >= 0) file.train.threads = arguments.threads;
  if (file.cache.empty()) file.cache = file.state + "/cache";
  return file;
}

std::atomic<Client*> running_client{nullptr};

void HandleSignal(int) {
  Client* client = running_client.load();
  if (client != nullptr) client->RequestStop();
}

void CatchSignals() {
  struct sigaction action = {};
  action.sa_handler = HandleSignal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void PrepareProcess() {
  // Keys and examples are in memory: no core dumps.
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  PrepareForEngines();
}

// Signs what this device says in masked rounds. Null: a kit from before them.
absl::StatusOr<std::unique_ptr<SigningKey>> IdentityKeyOf(Kit& kit) {
  if (!kit.identity_key_pem.has_value()) return nullptr;
  auto key = SigningKey::FromPem(*kit.identity_key_pem);
  WipeString(*kit.identity_key_pem);
  if (!key.ok()) return Annotate(key.status(), ErrorKind::kIdentity);
  return std::make_unique<SigningKey>(*std::move(key));
}

// A kit that is due is renewed before work begins; while it is in date a
// failure only delays that.
void RenewIfDue(const std::string& address, const Clock& clock, Kit* kit) {
  const auto due = RenewalTime(*kit);
  if (!due.ok() || clock.Now() < *due) return;
  const absl::Status status = RenewKit(address, clock.Now(), kit);
  if (status.ok()) return LogInfo("the device's certificate was renewed");
  LogWarning(fmt::format("the device's certificate was not renewed: {}",
                         std::string(status.message())));
}

absl::Status RunClient(const Arguments& arguments, bool once) {
  EDGETUNE_ASSIGN_OR_RETURN(const ClientFile file, Resolve(arguments));
  LogLevel level;
  if (ParseLogLevel(file.log, &level)) SetLogLevel(level);
  PrepareProcess();
  const RealClock clock;
  EDGETUNE_ASSIGN_OR_RETURN(Kit kit,
                            LoadKit(file.kit, PartyRole::kDevice, clock.Now()));
  const std::string enroll =
      file.enroll.empty() ? kit.enroll_address : file.enroll;
  if (!enroll.empty()) RenewIfDue(enroll, clock, &kit);
  EDGETUNE_ASSIGN_OR_RETURN(const auto identity, IdentityKeyOf(kit));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(file.state, 0700));
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(file.cache));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto database,
      Database::Open(file.state + "/client.db", Client::Migrations()));
  EDGETUNE_ASSIGN_OR_RETURN(const auto cache, BlobStore::Open(file.cache));
  EDGETUNE_ASSIGN_OR_RETURN(const auto transport,
                            MakeGrpcTransport(kit, file.server));
  EDGETUNE_ASSIGN_OR_RETURN(const auto client,
                            Client::Make({.transport = transport.get(),
                                          .database = database.get(),
                                          .cache = cache.get(),
                                          .clock = &clock,
                                          .engine = LoadEngine,
                                          .trusted = kit.trusted,
                                          .device_id = kit.identity.id,
                                          .identity = identity.get()},
                                         {.file = file, .once = once}));
  LogInfo(fmt::format("edgetune-client {} as {}, data \"{}\"", EDGETUNE_VERSION,
                      kit.identity.id, file.data.train));
  std::optional<KitRenewal> renewal;
  if (!once && !enroll.empty()) renewal.emplace(kit, enroll, &clock);
  running_client = client.get();
  CatchSignals();
  const absl::Status status = client->Run();
  running_client = nullptr;
  return status;
}

absl::Status EnrollThisDevice(const Arguments& arguments) {
  PrepareProcess();
  EDGETUNE_ASSIGN_OR_RETURN(Invitation invitation,
                            LoadInvitation(arguments.bundle, absl::Now()));
  const absl::Status status =
      EnrollDevice(invitation, arguments.out, arguments.enroll);
  WipeString(invitation.token);
  EDGETUNE_RETURN_IF_ERROR(status);
  const std::string out = TerminalLine(arguments.out);
  std::printf(
      "%s is the kit of device %s. Its keys were made here; %s is used up.\n"
      "Next: kit = \"%s\" in client.toml, then `edgetune-client run`.\n",
      out.c_str(), TerminalLine(invitation.name).c_str(),
      TerminalLine(arguments.bundle).c_str(), out.c_str());
  return absl::OkStatus();
}

absl::Status PrintStatus(const Arguments& arguments) {
  EDGETUNE_ASSIGN_OR_RETURN(const ClientFile file, Resolve(arguments));
  auto status = ReadDeviceStatus(file.state);
  if (absl::IsNotFound(status.status())) {
    return Annotate(status.status(), ErrorKind::kUsage,
                    "no client has run on this state directory yet");
  }
  EDGETUNE_RETURN_IF_ERROR(status);
  if (arguments.format == "json") {
    std::printf("{\"schema_version\":1,\"status\":\"ok\",\"data\":%s}\n",
                DeviceStatusJson(*status).c_str());
  } else {
    std::printf("%s\n", TerminalText(DeviceStatusText(*status)).c_str());
  }
  return absl::OkStatus();
}

int Exit(const absl::Status& status, const std::string& format) {
  if (status.ok()) return 0;
  const std::string message(status.message());
  const std::string hint = HintOf(status);
  std::fprintf(stderr, "error: %s\n", TerminalText(message).c_str());
  if (!hint.empty()) {
    std::fprintf(stderr, "hint: %s\n", TerminalText(hint).c_str());
  }
  if (format == "json") {
    const nlohmann::ordered_json json = {
        {"schema_version", 1},
        {"status", "error"},
        {"error_code", std::string(ErrorCodeName(KindOf(status)))},
        {"message", message},
        {"hint", hint}};
    std::printf("%s\n",
                json.dump(-1, ' ', false,
                          nlohmann::ordered_json::error_handler_t::replace)
                    .c_str());
  }
  return ExitCodeOf(status);
}

void AddOptions(CLI::App& verb, Arguments& a) {
  verb.add_option("--config", a.config, "client.toml")->required();
  verb.add_option("--server", a.server, "host:port of the coordinator");
  verb.add_option("--enroll", a.enroll, "host:port of the enrolment service");
  verb.add_option("--kit", a.kit, "directory of the device kit");
  verb.add_option("--state", a.state, "directory of what must survive");
  verb.add_option("--cache", a.cache, "directory of models");
  verb.add_option("--data", a.data, "training examples (JSONL)");
  verb.add_option("--heldout", a.heldout, "held-out examples (JSONL)");
  verb.add_option("--population", a.population, "which runs to serve");
  verb.add_option("--threads", a.threads, "of the engine; 0: all cores")
      ->check(CLI::Range(0, 4096));
}

int Main(int argc, char** argv) {
  CLI::App app("Takes part in federated fine-tuning with this device's data.");
  app.set_version_flag("--version",
                       std::string("edgetune-client ") + EDGETUNE_VERSION);
  app.require_subcommand(1);
  Arguments arguments;
  CLI::App* run = app.add_subcommand("run", "take part until stopped");
  CLI::App* once = app.add_subcommand("once", "take part once, for timers");
  CLI::App* status = app.add_subcommand("status", "what the client is doing");
  for (CLI::App* verb : {run, once, status}) AddOptions(*verb, arguments);
  CLI::App* enroll = app.add_subcommand(
      "enroll", "make this device's kit with a one-time token");
  enroll->add_option("--bundle", arguments.bundle, "directory of an invitation")
      ->required();
  enroll->add_option("--out", arguments.out, "new directory for the kit")
      ->required();
  enroll->add_option("--enroll", arguments.enroll,
                     "host:port of the enrolment service");
  status->add_option("--format", arguments.format, "txt or json")
      ->check(CLI::IsMember({"txt", "json"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return Exit(Annotate(absl::InvalidArgumentError(error.what()),
                         ErrorKind::kUsage, "see edgetune-client --help"),
                "txt");
  }
  if (*status) return Exit(PrintStatus(arguments), arguments.format);
  if (*enroll) return Exit(EnrollThisDevice(arguments), "txt");
  return Exit(RunClient(arguments, once->parsed()), "txt");
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) { return edgetune::Main(argc, argv); }
