#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/identity/kit.h"
#include "tools/federation/receipts.h"
#include "tools/federation/run_report.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

constexpr uint64_t kLargestReceipt = 4 << 20;

struct ReceiptOptions {
  std::string file, kit, state, run_id;
};

absl::StatusOr<HeldReceipt> Read(const ReceiptOptions& options,
                                 const TrustedKeys& keys) {
  absl::StatusOr<std::string> bytes = ReadFile(options.file, kLargestReceipt);
  if (!bytes.ok()) return Annotate(bytes.status(), ErrorKind::kUsage);
  auto held = ReadReceipt(*std::move(bytes), keys, absl::Now());
  if (!held.ok()) return Prefix(held.status(), options.file);
  return held;
}

absl::Status CheckRun(const ReceiptOptions& options,
                      const secagg::CheckedReceipt& checked) {
  if (options.run_id.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const std::string id, ParseRunId(options.run_id));
  if (checked.receipt.plan_digest().starts_with(id)) return absl::OkStatus();
  return Annotate(
      absl::FailedPreconditionError(
          options.file + " is a receipt of another run than " + options.run_id),
      ErrorKind::kFailed, "without --run it says of which");
}

absl::Status Verify(const ReceiptOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const KitFacts kit, ReadKitFacts(options.kit));
  EDGETUNE_ASSIGN_OR_RETURN(const HeldReceipt held, Read(options, kit.trusted));
  EDGETUNE_RETURN_IF_ERROR(CheckRun(options, held.checked));
  std::optional<OwnWord> own;
  if (kit.identity.role == PartyRole::kDevice) {
    EDGETUNE_ASSIGN_OR_RETURN(own, AskDevice(held.checked, kit.trusted,
                                             kit.identity.id, options.state));
  } else if (!options.state.empty()) {
    return Annotate(
        absl::InvalidArgumentError("--state is of one device, and " +
                                   options.kit + " is no device's kit"),
        ErrorKind::kUsage, "name that device's kit with --kit");
  }
  return output.Finish(ReceiptJson(held.checked, own),
                       ReceiptText(held.checked, own));
}

}  // namespace

void AddReceiptVerbs(CLI::App& app, Invocation& invocation) {
  CLI::App* group = AddGroup(app, "receipt", "What masked rounds leave behind");
  const Output& output = invocation.output;
  auto options = std::make_shared<ReceiptOptions>();
  CLI::App* verb = AddVerb(
      *group, invocation, "verify",
      "Check a receipt, and that a device signed and is in what it shows",
      [options, &output] { return Verify(*options, output); });
  verb->add_option("file", options->file,
                   "Receipt (receipts/round-N.pb of run download or demo)")
      ->required();
  verb->add_option("--kit", options->kit,
                   "Kit whose pinned keys are believed: a device's (then it "
                   "must be in the sum) or an operator's")
      ->required();
  verb->add_option("--state", options->state,
                   "Its client's state directory: compares with its own log; "
                   "the client must not run");
  verb->add_option("--run", options->run_id,
                   "The run it must belong to (id or its first digits)");
}

}  // namespace edgetune
