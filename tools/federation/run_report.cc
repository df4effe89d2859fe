#include "tools/federation/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/plan_check.h"
#include "protos/run_status.h"
#include "tools/federation/masking_text.h"
#include "tools/output.h"

namespace edgetune {
namespace {

// "" for what has not come about.
std::string MomentText(int64_t unix_ms) {
  return unix_ms == 0 ? "" : TimeText(absl::FromUnixMillis(unix_ms));
}

nlohmann::json ClientsJson(const v1::RunStatus& status) {
  nlohmann::json clients = nlohmann::json::array();
  for (const v1::ClientStatus& client : status.clients()) {
    clients.push_back({{"device_id", client.device_id()},
                       {"state", client.state()},
                       {"step", client.step()},
                       {"steps", client.steps()},
                       {"loss", client.loss()},
                       {"detail", client.detail()}});
  }
  return clients;
}

nlohmann::json ReceiptsJson(const v1::RunStatus& status) {
  nlohmann::json receipts = nlohmann::json::array();
  for (const std::string& digest : status.receipts()) {
    receipts.push_back(ToHex(digest));
  }
  return receipts;
}

nlohmann::json BlameJson(const v1::RunStatus& status) {
  nlohmann::json blame = nlohmann::json::array();
  for (const v1::BlameScore& score : status.scores()) {
    blame.push_back(
        {{"device_id", score.device_id()}, {"points", score.points()}});
  }
  return blame;
}

// What masking left behind; nothing for a run in the clear.
std::string MaskingReport(const v1::RunStatus& status) {
  std::string text = PrivacyText(status.plan()) + "\n";
  if (status.receipts_size() > 0) {
    text += fmt::format(
        "{} receipt{}; run download fetches, receipt verify checks them\n",
        status.receipts_size(), status.receipts_size() == 1 ? "" : "s");
  }
  for (const v1::BlameScore& score : status.scores()) {
    text += fmt::format(
        "blame: {} was named in {} dispute{} (a score, no verdict: either of "
        "the two named may have lied)\n",
        score.device_id(), score.points(), score.points() == 1 ? "" : "s");
  }
  return text;
}

nlohmann::json CardsJson(const v1::RunStatus& status) {
  nlohmann::json cards = nlohmann::json::array();
  for (const v1::Envelope& envelope : status.cards()) {
    const absl::StatusOr<v1::ModelCard> card = ParseCard(envelope.payload());
    if (!card.ok()) continue;
    cards.push_back({{"version", card->version()},
                     {"adapter_sha256", ToHex(card->adapter_digest())},
                     {"updates", card->updates()},
                     {"weight_sum", card->weight_sum()}});
  }
  return cards;
}

// How much of the run is done, in [0, 1].
double ShareDone(const v1::RunStatus& status) {
  if (status.rounds() == 0) return 0;
  double steps = 0;
  for (const v1::ClientStatus& client : status.clients()) {
    const bool through = client.state() == "uploading" ||
                         client.state() == "reported" ||
                         client.state() == "awaited";
    if (through) {
      steps += 1;
    } else if (client.steps() > 0) {
      steps += static_cast<double>(client.step()) / client.steps();
    }
  }
  const double round =
      status.clients_size() > 0 ? steps / status.clients_size() : 0;
  return std::min(1.0, (status.rounds_done() + round) / status.rounds());
}

std::string BytesText(const v1::RunStatus& status) {
  return fmt::format(
      "down {} (base model {}), up {}", FormatBytes(status.bytes_down()),
      FormatBytes(status.base_bytes_down()), FormatBytes(status.bytes_up()));
}

std::string HeadText(const v1::RunStatus& status, double elapsed) {
  const uint32_t round = std::min(status.rounds_done() + 1, status.rounds());
  std::string text = fmt::format("round {} of {}, {}", round, status.rounds(),
                                 status.phase().empty()
                                     ? std::string(RunStateName(status.state()))
                                     : status.phase());
  if (status.attempt() > 0) {
    text += fmt::format(" (attempt {})", status.attempt() + 1);
  }
  text += ", " + FormatSeconds(elapsed);
  const double left = SecondsLeft(ShareDone(status), elapsed);
  if (left > 0) text += ", about " + FormatSeconds(left) + " left";
  return text;
}

std::string ClientText(const v1::ClientStatus& client) {
  std::string text = client.state();
  if (client.state() == "training" && client.steps() > 0) {
    text += fmt::format(" {}/{}", client.step(), client.steps());
  }
  if (client.loss() > 0) text += fmt::format(" loss {:.3f}", client.loss());
  return text;
}

}  // namespace

std::string_view RunStateName(v1::RunStatus::State state) {
  switch (state) {
    case v1::RunStatus::QUEUED:
      return "queued";
    case v1::RunStatus::RUNNING:
      return "running";
    case v1::RunStatus::FINISHED:
      return "finished";
    case v1::RunStatus::FAILED:
      return "failed";
    case v1::RunStatus::STOPPED:
      return "stopped";
    case v1::RunStatus::PAUSED_NEEDS_OVERRIDE:
      return "paused";
    default:
      return "unknown";
  }
}

bool IsPaused(const v1::RunStatus& status) {
  return status.state() == v1::RunStatus::PAUSED_NEEDS_OVERRIDE;
}

std::string PausedAdvice(const v1::RunStatus& status) {
  const std::string id = ToHex(status.run_id()).substr(0, 12);
  return fmt::format(
      "to go on: `edgetune run override {0} --kit KIT` lets devices contribute "
      "once more from the same adapter, so that the coordinator may learn two "
      "sums of nearly the same updates; enough devices that have not "
      "contributed help as well, at once; `edgetune run stop {0} --kit KIT` "
      "ends the run",
      id);
}

std::vector<double> PerplexitiesOf(const v1::RunStatus& status) {
  std::vector<double> values;
  for (const v1::Measure& measure : status.measures()) {
    if (measure.tokens() == 0) continue;
    values.push_back(
        std::exp(measure.nll_sum() / static_cast<double>(measure.tokens())));
  }
  return values;
}

nlohmann::json RunJson(const v1::RunStatus& status) {
  nlohmann::json events = nlohmann::json::array();
  for (const v1::RunEvent& event : status.events()) {
    events.push_back(
        {{"time", MomentText(event.time_ms())}, {"text", event.text()}});
  }
  return {{"run_id", ToHex(status.run_id())},
          {"name", status.name()},
          {"state", std::string(RunStateName(status.state()))},
          {"detail", status.detail()},
          {"rounds_done", status.rounds_done()},
          {"rounds", status.rounds()},
          {"phase", status.phase()},
          {"attempt", status.attempt()},
          {"clients", ClientsJson(status)},
          {"perplexity", PerplexitiesOf(status)},
          {"cards", CardsJson(status)},
          {"masked", status.plan().secagg().enabled()},
          {"receipts", ReceiptsJson(status)},
          {"blame", BlameJson(status)},
          {"bytes_down", status.bytes_down()},
          {"base_bytes_down", status.base_bytes_down()},
          {"bytes_up", status.bytes_up()},
          {"submitted", MomentText(status.submitted_ms())},
          {"ended", MomentText(status.ended_ms())},
          {"events", events}};
}

std::string RunText(const v1::RunStatus& status) {
  std::string text = fmt::format(
      "run {} ({})\n{}{}\n{} of {} rounds, {}\n", ToHex(status.run_id()),
      status.name(), std::string(RunStateName(status.state())),
      status.detail().empty() ? "" : ": " + status.detail(),
      status.rounds_done(), status.rounds(), BytesText(status));
  if (IsPaused(status)) text += PausedAdvice(status) + "\n";
  text += MaskingReport(status);
  for (const v1::Measure& measure : status.measures()) {
    if (measure.tokens() == 0) continue;
    text += fmt::format(
        "held-out perplexity of version {}: {:.2f} ({} clients)\n",
        measure.version(),
        std::exp(measure.nll_sum() / static_cast<double>(measure.tokens())),
        measure.clients());
  }
  if (!HasEnded(status)) {
    for (const v1::ClientStatus& client : status.clients()) {
      text +=
          fmt::format("  {}: {}{}\n", client.device_id(), ClientText(client),
                      client.detail().empty() ? "" : ", " + client.detail());
    }
  }
  for (const v1::RunEvent& event : status.events()) {
    text += fmt::format("{} {}\n", MomentText(event.time_ms()), event.text());
  }
  return text;
}

std::string RunTable(const std::vector<v1::RunStatus>& runs) {
  std::vector<std::vector<std::string>> rows = {
      {"run", "name", "state", "rounds", "perplexity", "submitted"}};
  for (const v1::RunStatus& run : runs) {
    const std::vector<double> perplexity = PerplexitiesOf(run);
    rows.push_back(
        {ToHex(run.run_id()).substr(0, 12), run.name(),
         std::string(RunStateName(run.state())),
         fmt::format("{}/{}", run.rounds_done(), run.rounds()),
         perplexity.empty() ? "" : fmt::format("{:.2f}", perplexity.back()),
         MomentText(run.submitted_ms())});
  }
  return FormatTable(rows, {3, 4});
}

std::vector<std::string> RunBlock(const v1::RunStatus& status, double elapsed) {
  std::vector<std::string> lines = {Bar(ShareDone(status), 30) + " " +
                                    HeadText(status, elapsed)};
  size_t width = 0;
  for (const v1::ClientStatus& client : status.clients()) {
    width = std::max(width, client.device_id().size());
  }
  for (const v1::ClientStatus& client : status.clients()) {
    lines.push_back(fmt::format("  {:{}}  {}", client.device_id(), width,
                                ClientText(client)));
  }
  lines.push_back("  " + BytesText(status));
  return lines;
}

std::string RunLine(const v1::RunStatus& status, double elapsed) {
  std::string text = HeadText(status, elapsed);
  for (const v1::ClientStatus& client : status.clients()) {
    text += fmt::format("; {} {}", client.device_id(), ClientText(client));
  }
  return text + "; " + BytesText(status);
}

void SayPerplexities(const v1::RunStatus& status, size_t& told,
                     LiveBlock& block) {
  const std::vector<double> known = PerplexitiesOf(status);
  // The last may still be growing while its round is open.
  const size_t closed =
      HasEnded(status) ? known.size()
                       : std::min<size_t>(known.size(), status.rounds_done());
  for (; told < closed; ++told) {
    block.Say(told == 0
                  ? fmt::format("held-out perplexity of the base: {:.2f}",
                                known[told])
                  : fmt::format("held-out perplexity after round {}: {:.2f}",
                                told, known[told]));
  }
}

absl::Status OutcomeOf(const v1::RunStatus& status) {
  if (status.state() == v1::RunStatus::FINISHED) return absl::OkStatus();
  if (!HasEnded(status)) {
    return Annotate(absl::UnavailableError("the run has not ended"),
                    ErrorKind::kConnection, "edgetune run watch shows it");
  }
  const std::string message =
      fmt::format("run {} {}: {}", ToHex(status.run_id()).substr(0, 12),
                  std::string(RunStateName(status.state())), status.detail());
  if (status.state() == v1::RunStatus::FAILED &&
      status.detail().rfind("not enough clients", 0) == 0) {
    return Annotate(absl::DeadlineExceededError(message),
                    ErrorKind::kNotEnoughClients,
                    "start more clients of the run's population, or lower "
                    "[rounds] cohort and quorum");
  }
  return Annotate(absl::AbortedError(message), ErrorKind::kFailed,
                  "edgetune run show tells what happened");
}

absl::StatusOr<std::string> ParseRunId(const std::string& hex) {
  const std::optional<std::string> id = FromHex(hex);
  if (id.has_value() && id->size() >= 4 && id->size() <= 32) return *id;
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "run id '{}': wanted 8 to 64 hexadecimal digits, an even number",
          hex)),
      ErrorKind::kUsage, "edgetune run list shows the ids");
}

}  // namespace edgetune
