#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/run_status.h"
#include "tools/federation/masking_text.h"
#include "tools/federation/receipts.h"
#include "tools/federation/run_report.h"
#include "tools/operator_calls.h"
#include "tools/progress.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

struct RunOptions {
  std::string kit, server;
  std::string run_file, release_key, token;
  std::vector<std::string> sets;
  bool watch = false;
  std::string run_id, out;
  int64_t version = -1;
  uint32_t extra = 1;
};

std::string ReleaseKeyOf(const RunOptions& options, const Kit& kit) {
  if (!options.release_key.empty()) return options.release_key;
  return kit.release_key_path.value_or("");
}

// Shows the run until it has ended; its outcome.
absl::Status WatchToEnd(OperatorSession& session, const std::string& run_id,
                        const Output& output) {
  const absl::Time start = absl::Now();
  LiveBlock block(output);
  size_t told = 0;
  bool paused = false;
  auto on_status = [&](const v1::RunStatus& status) {
    const double elapsed = absl::ToDoubleSeconds(absl::Now() - start);
    SayPerplexities(status, told, block);
    if (IsPaused(status) && !paused) {
      block.Say("paused: " + status.detail());
      block.Say(PausedAdvice(status));
    }
    paused = IsPaused(status);
    block.Show(RunBlock(status, elapsed), RunLine(status, elapsed));
    return true;
  };
  EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status,
                            session.client->Watch(run_id, on_status));
  block.Wipe();
  EDGETUNE_RETURN_IF_ERROR(OutcomeOf(status));
  return output.Finish(RunJson(status), RunText(status));
}

absl::Status Submit(const RunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  EDGETUNE_ASSIGN_OR_RETURN(
      PreparedRun run,
      PrepareRun(options.run_file, options.sets, options.token));
  output.Note(PrivacyText(run.built.plan));
  EDGETUNE_ASSIGN_OR_RETURN(
      v1::RunStatus status,
      SubmitRun(session, run, ReleaseKeyOf(options, session.kit), output));
  if (options.watch) {
    output.Note("run " + ToHex(status.run_id()));
    return WatchToEnd(session, status.run_id(), output);
  }
  return output.Finish(RunJson(status), ToHex(status.run_id()));
}

absl::Status List(const RunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<v1::RunStatus> runs,
                            session.client->List());
  nlohmann::json data = nlohmann::json::array();
  for (const v1::RunStatus& run : runs) data.push_back(RunJson(run));
  return output.Finish({{"runs", data}}, RunTable(runs));
}

// `show` and `stop`: one call that answers with the run's status.
using StatusCall =
    absl::StatusOr<v1::RunStatus> (OperatorClient::*)(const std::string&);
absl::Status Ask(const RunOptions& options, const Output& output,
                 StatusCall call) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, ParseRunId(options.run_id));
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status,
                            ((*session.client).*call)(id));
  return output.Finish(RunJson(status), RunText(status));
}

absl::Status Watch(const RunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, ParseRunId(options.run_id));
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  return WatchToEnd(session, id, output);
}

absl::Status Override(const RunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, ParseRunId(options.run_id));
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status, session.client->Show(id));
  if (HasEnded(status)) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format(
            "run {} has ended: {}", ToHex(status.run_id()).substr(0, 12),
            std::string(RunStateName(status.state())))),
        ErrorKind::kFailed, "what was published stays");
  }
  if (!IsPaused(status) && status.plan().secagg().enabled()) {
    output.Note(fmt::format(
        "the run is {}, not paused: the override only matters if it pauses at "
        "the adapter where it stands now",
        std::string(RunStateName(status.state()))));
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      status, OverrideRun(session, status,
                          {ReleaseKeyOf(options, session.kit), options.extra}));
  return output.Finish(RunJson(status), RunText(status));
}

absl::Status Download(const RunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string id, ParseRunId(options.run_id));
  EDGETUNE_RETURN_IF_ERROR(CheckNew(options.out));
  EDGETUNE_ASSIGN_OR_RETURN(OperatorSession session,
                            ConnectOperator(options.kit, options.server));
  EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status, session.client->Show(id));
  std::optional<uint32_t> version;
  if (options.version >= 0) version = static_cast<uint32_t>(options.version);
  EDGETUNE_ASSIGN_OR_RETURN(DownloadedAdapter downloaded,
                            DownloadAdapter(session, status, version));
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<HeldReceipt> receipts,
                            DownloadReceipts(session, status));
  EDGETUNE_RETURN_IF_ERROR(WriteRunAdapter(options.out, downloaded, status));
  const absl::Status written = WriteReceipts(options.out, receipts);
  if (!written.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(options.out, ignored);
    return written;
  }
  return output.Finish(
      {{"adapter", options.out},
       {"version", downloaded.card.version()},
       {"adapter_sha256", ToHex(downloaded.card.adapter_digest())},
       {"receipts", receipts.size()}},
      options.out);
}

void AddConnection(CLI::App& verb, RunOptions& options) {
  verb.add_option("--kit", options.kit, "Operator kit (directory)")->required();
  verb.add_option("--server", options.server, "host:port (default: the kit's)");
}

void AddRunId(CLI::App& verb, RunOptions& options) {
  verb.add_option("run_id", options.run_id,
                  "Run id, or its first 8 or more digits")
      ->required();
}

}  // namespace

void AddRunVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "run", "Runs on a coordinator");
  const Output& output = invocation.output;
  auto o = std::make_shared<RunOptions>();
  auto add = [&](const char* name, const char* text,
                 std::function<absl::Status()> action) {
    CLI::App* verb = AddVerb(*group, invocation, name, text, action);
    AddConnection(*verb, *o);
    return verb;
  };
  CLI::App* submit = add("submit", "Sign the plan of a run file and hand it in",
                         [o, &output] { return Submit(*o, output); });
  submit->add_option("run_file", o->run_file, "Run file (TOML)")->required();
  submit->add_option("--release-key", o->release_key,
                     "Key that signs the plan (default: the kit's)");
  submit->add_option("--token", o->token,
                     "Submitting again with the same token is the same run");
  submit->add_option("--set", o->sets, "Override a key: train.lr=1e-4");
  submit->add_flag("--watch", o->watch, "Stay until it has ended");
  add("list", "All runs", [o, &output] { return List(*o, output); });
  AddRunId(
      *add("show", "One run, its measures and events",
           [o, &output] { return Ask(*o, output, &OperatorClient::Show); }),
      *o);
  AddRunId(*add("watch", "Follow a run until it has ended",
                [o, &output] { return Watch(*o, output); }),
           *o);
  AddRunId(
      *add("stop", "End a run; what was published stays",
           [o, &output] { return Ask(*o, output, &OperatorClient::Stop); }),
      *o);
  CLI::App* permit =
      add("override",
          "Let devices contribute again from the adapter of a paused run",
          [o, &output] { return Override(*o, output); });
  AddRunId(*permit, *o);
  permit->add_option("--release-key", o->release_key,
                     "Key that signs the override (default: the kit's)");
  permit->add_option("--extra", o->extra, "Contributions more a device")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  CLI::App* download =
      add("download", "Fetch an adapter as a PEFT directory, with its card",
          [o, &output] { return Download(*o, output); });
  AddRunId(*download, *o);
  download->add_option("--out", o->out, "New directory")->required();
  download->add_option("--version", o->version, "Default: the last")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace edgetune
