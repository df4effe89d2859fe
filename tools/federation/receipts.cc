#include "tools/federation/receipts.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "client/client.h"
#include "client/masking_store.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tools/output.h"

namespace edgetune {
namespace {

using secagg::CheckedReceipt;

bool IsEvaluation(const CheckedReceipt& checked) {
  return checked.manifest.kind() == v1::RoundManifest::EVAL;
}

// People count rounds from 1.
std::string RoundText(const CheckedReceipt& checked) {
  std::string text =
      IsEvaluation(checked)
          ? std::string("the closing evaluation")
          : fmt::format("round {}", checked.manifest.round() + 1);
  if (checked.manifest.attempt() > 0) {
    text += fmt::format(" (attempt {})", checked.manifest.attempt() + 1);
  }
  return text;
}

absl::Status Mismatch(const CheckedReceipt& checked, std::string_view what) {
  return Annotate(absl::DataLossError(fmt::format("the receipt of {} {}",
                                                  RoundText(checked), what)),
                  ErrorKind::kFailed, "ask whoever runs the coordinator");
}

// Adapters by version, as the run's signed cards name them.
absl::StatusOr<std::map<uint32_t, std::string>> AdaptersOf(
    const v1::RunStatus& status, const TrustedKeys& keys) {
  std::map<uint32_t, std::string> adapters;
  for (const v1::Envelope& envelope : status.cards()) {
    EDGETUNE_RETURN_IF_ERROR(
        VerifyDocument(DocumentUse::kCard, envelope, keys));
    EDGETUNE_ASSIGN_OR_RETURN(const v1::ModelCard card,
                              ParseCard(envelope.payload()));
    adapters[card.version()] = card.adapter_digest();
  }
  return adapters;
}

// What one receipt has to say about its place in the run.
absl::Status CheckPlaceInRun(const CheckedReceipt& checked, uint32_t round,
                             const std::string& before,
                             const v1::RunStatus& status) {
  if (checked.receipt.plan_digest() != status.run_id()) {
    return Mismatch(checked, "belongs to another run");
  }
  if (checked.manifest.round() != round) {
    return Mismatch(checked, fmt::format("stands where that of round {} should",
                                         round + 1));
  }
  if (checked.receipt.prev_receipt_digest() != before) {
    return Mismatch(checked, "does not name the receipt before it");
  }
  return absl::OkStatus();
}

absl::Status CheckAdapters(const CheckedReceipt& checked,
                           const std::map<uint32_t, std::string>& adapters) {
  const auto named = [&](uint32_t version, const std::string& digest) {
    const auto found = adapters.find(version);
    return found != adapters.end() && found->second == digest;
  };
  const uint32_t round = checked.manifest.round();
  if (!named(round, checked.manifest.adapter_digest()) ||
      (!IsEvaluation(checked) &&
       !named(round + 1, checked.receipt.result_digest()))) {
    return Mismatch(checked, "names other adapters than the run's cards");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Database>> OpenState(const std::string& state) {
  const std::string path = state + "/client.db";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Annotate(
        absl::NotFoundError(fmt::format("there is no {}", path)),
        ErrorKind::kUsage,
        "--state names the directory that `state` in client.toml names");
  }
  auto database = Database::Open(path, Client::Migrations());
  if (database.ok() || !absl::IsFailedPrecondition(database.status())) {
    return database;
  }
  // Already carries the hint of a store in use.
  return Prefix(database.status(),
                "the device's log cannot be read while its client runs");
}

std::string GroupText(const CheckedReceipt::Group& group) {
  return fmt::format(
      "{} of {} devices are in the sum; {} of them signed that very set ({} "
      "had to)",
      group.survivors, group.members, group.signers, group.threshold);
}

std::string OwnText(const OwnWord& own) {
  if (!own.signed_at.has_value()) {
    return fmt::format(
        "{} is in it, says the receipt{}. Its own log was not looked at "
        "(--state)",
        own.device,
        own.place.has_signed ? ", with its signature"
                             : ", without its signature");
  }
  return fmt::format("{} is in it: its own log holds this very set, signed {}",
                     own.device, TimeText(*own.signed_at));
}

constexpr char kShown[] =
    "Shown: in each group at least the needed number of members signed one and "
    "the same\nset of survivors. All of them are enrolled and signed their "
    "keys "
    "for this round.\n";
constexpr char kNotShown[] =
    "Not shown: that the published adapter is the sum over this set, which the "
    "coordinator\ncomputes; what any device sent; that no other attempt was "
    "made; that the devices\nbelong to different people.\n";

nlohmann::json OwnJson(const OwnWord& own) {
  return {{"id", own.device},
          {"group", own.place.group},
          {"in_sum", own.place.survived},
          {"signature_in_receipt", own.place.has_signed},
          {"own_log_agrees", own.signed_at.has_value()},
          {"signed", own.signed_at.has_value() ? TimeText(*own.signed_at)
                                               : std::string()}};
}

}  // namespace

absl::StatusOr<HeldReceipt> ReadReceipt(std::string bytes,
                                        const TrustedKeys& keys,
                                        absl::Time now) {
  v1::Envelope envelope;
  if (bytes.empty() || !envelope.ParseFromString(bytes)) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "not a receipt: {} bytes that are no signed document",
                        bytes.size())),
                    ErrorKind::kUsage,
                    "wanted a whole file of `edgetune run download`");
  }
  HeldReceipt held;
  EDGETUNE_ASSIGN_OR_RETURN(held.checked,
                            secagg::CheckReceipt(envelope, keys, now));
  held.bytes = std::move(bytes);
  return held;
}

absl::StatusOr<std::vector<HeldReceipt>> CheckReceipts(
    std::vector<std::string> blobs, const v1::RunStatus& status,
    const TrustedKeys& keys) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto adapters, AdaptersOf(status, keys));
  std::vector<HeldReceipt> receipts;
  for (std::string& blob : blobs) {
    const std::string before =
        receipts.empty() ? "" : Sha256Bytes(receipts.back().bytes);
    EDGETUNE_ASSIGN_OR_RETURN(HeldReceipt held,
                              ReadReceipt(std::move(blob), keys, absl::Now()));
    EDGETUNE_RETURN_IF_ERROR(CheckPlaceInRun(
        held.checked, static_cast<uint32_t>(receipts.size()), before, status));
    EDGETUNE_RETURN_IF_ERROR(CheckAdapters(held.checked, adapters));
    receipts.push_back(std::move(held));
  }
  return receipts;
}

absl::StatusOr<std::vector<HeldReceipt>> DownloadReceipts(
    OperatorSession& session, const v1::RunStatus& status) {
  std::vector<std::string> blobs;
  for (const std::string& bytes : status.receipts()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, DigestFromBytes(bytes));
    EDGETUNE_ASSIGN_OR_RETURN(blobs.emplace_back(),
                              session.client->Fetch(digest));
  }
  return CheckReceipts(std::move(blobs), status, session.kit.trusted);
}

absl::Status WriteReceipts(const std::string& directory,
                           const std::vector<HeldReceipt>& receipts) {
  if (receipts.empty()) return absl::OkStatus();
  const std::string folder = directory + "/receipts";
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder));
  for (const HeldReceipt& receipt : receipts) {
    EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(
        folder + "/" + ReceiptFileName(receipt.checked), receipt.bytes));
  }
  return absl::OkStatus();
}

std::string ReceiptFileName(const CheckedReceipt& checked) {
  if (IsEvaluation(checked)) return "closing-evaluation.pb";
  return fmt::format("round-{}.pb", checked.manifest.round() + 1);
}

absl::StatusOr<OwnWord> AskDevice(const CheckedReceipt& checked,
                                  const TrustedKeys& keys,
                                  const std::string& device,
                                  const std::string& state) {
  const auto fail = [](std::string message, std::string_view hint) {
    return Annotate(absl::NotFoundError(message), ErrorKind::kFailed, hint);
  };
  const auto place = secagg::FindInReceipt(checked, ClientIdOf(device));
  if (!place.has_value()) {
    return fail(fmt::format("{} is in no cohort of this receipt", device),
                "it took no part in this round, or not to its end");
  }
  if (!place->survived) {
    return fail(fmt::format("{} is in the cohort, but not in the sum", device),
                "its update did not arrive in time and was not used");
  }
  OwnWord own{device, *place, std::nullopt};
  if (state.empty()) return own;
  EDGETUNE_ASSIGN_OR_RETURN(const auto database, OpenState(state));
  const v1::GroupReceipt& group =
      checked.receipt.groups(static_cast<int>(place->group));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto record,
      MaskingStore(database.get()).FindSigned(group.session()));
  if (!record.has_value()) {
    return fail(
        fmt::format("the log in {} holds no survivor set of this session",
                    state),
        "is this the state of that device? One that lost its connection "
        "before it signed has no entry either");
  }
  EDGETUNE_RETURN_IF_ERROR(
      secagg::CompareWithRecord(group, record->document, keys));
  own.signed_at = absl::FromUnixMillis(record->signed_ms);
  return own;
}

std::string ReceiptText(const CheckedReceipt& checked,
                        const std::optional<OwnWord>& own) {
  std::string text = fmt::format(
      "Receipt of {} of run {},\nsigned by the coordinator {}\n",
      RoundText(checked), ToHex(checked.receipt.plan_digest()),
      TimeText(absl::FromUnixMillis(checked.receipt.header().issued_ms())));
  for (size_t i = 0; i < checked.groups.size(); ++i) {
    const std::string name =
        checked.groups.size() == 1 ? "" : fmt::format("group {}: ", i + 1);
    text += fmt::format("  {}{}\n", name, GroupText(checked.groups[i]));
  }
  if (own.has_value()) text += fmt::format("  {}\n", OwnText(*own));
  text += fmt::format("  adapter before  {}\n",
                      ToHex(checked.manifest.adapter_digest()));
  if (!IsEvaluation(checked)) {
    text += fmt::format("  adapter after   {}\n",
                        ToHex(checked.receipt.result_digest()));
  }
  text += fmt::format("  roster          version {}, {} devices\n",
                      checked.manifest.masking().roster_version(),
                      checked.manifest.masking().roster_leaves());
  return text + kShown + kNotShown;
}

nlohmann::json ReceiptJson(const CheckedReceipt& checked,
                           const std::optional<OwnWord>& own) {
  nlohmann::json groups = nlohmann::json::array();
  for (size_t i = 0; i < checked.groups.size(); ++i) {
    const CheckedReceipt::Group& group = checked.groups[i];
    groups.push_back(
        {{"session",
          ToHex(checked.receipt.groups(static_cast<int>(i)).session())},
         {"members", group.members},
         {"threshold", group.threshold},
         {"survivors", group.survivors},
         {"signers", group.signers}});
  }
  return {
      {"run_id", ToHex(checked.receipt.plan_digest())},
      {"round", checked.manifest.round() + 1},
      {"attempt", checked.manifest.attempt() + 1},
      {"kind", IsEvaluation(checked) ? "evaluation" : "train"},
      {"issued",
       TimeText(absl::FromUnixMillis(checked.receipt.header().issued_ms()))},
      {"groups", groups},
      {"survivors", checked.receipt.survivors()},
      {"adapter_before", ToHex(checked.manifest.adapter_digest())},
      {"adapter_after", ToHex(checked.receipt.result_digest())},
      {"roster_version", checked.manifest.masking().roster_version()},
      {"device", own.has_value() ? OwnJson(*own) : nlohmann::json()},
      {"shown",
       "at least `threshold` members of each group signed one "
       "survivor set"},
      {"not_shown", "that the published adapter is the sum over it"}};
}

}  // namespace edgetune
