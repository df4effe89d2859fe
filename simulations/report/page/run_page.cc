#include "simulations/report/page/run_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "simulations/report/page/html.h"
#include "simulations/report/page/run_charts.h"

namespace edgetune {
namespace {

template <typename T, typename Format>
std::string Known(const std::optional<T>& value, Format format) {
  return value ? format(*value) : std::string(kDash);
}

int64_t CommittedOf(const RunSummary& run) {
  return std::ranges::count(run.rounds, RoundState::kCommitted,
                            &RoundSummary::state);
}

std::string Lead(const RunSummary& run) {
  const RunHeader& header = run.header;
  return fmt::format(
      "{} of {} rounds committed · {} clients · cohort {} · seed {} · {} · {}",
      Grouped(CommittedOf(run)), Grouped(header.rounds),
      Grouped(header.clients), Grouped(header.cohort), header.seed,
      header.masked ? "updates masked" : "updates in the clear",
      run.state ? "run " + *run.state : "run not ended");
}

Tile PerplexityTile(const RunSummary& run) {
  const auto points = PerplexityPoints(run);
  if (points.empty()) return {"Perplexity", std::string(kDash), "not measured"};
  const double first = points.front().second, last = points.back().second;
  return {"Perplexity", PerplexityText(last),
          points.size() < 2
              ? fmt::format("of version {:.0f}", points.back().first)
              : fmt::format("{} at version {:.0f}: {:+.1f} %",
                            PerplexityText(first), points.front().first,
                            100 * (last / first - 1))};
}

// Of the newest version that was tested.
std::optional<Tile> AccuracyTile(const RunSummary& run) {
  for (auto round = run.rounds.rbegin(); round != run.rounds.rend(); ++round) {
    if (const auto accuracy = round->test.Accuracy()) {
      return Tile{"Accuracy", fmt::format("{:.2f} %", 100 * *accuracy),
                  fmt::format("of the test set, version {}", round->round)};
    }
  }
  return std::nullopt;
}

std::string Tiles(const RunSummary& run) {
  const Funnel& funnel = run.funnel;
  std::vector<Tile> tiles = {AccuracyTile(run).value_or(PerplexityTile(run))};
  tiles.push_back(
      {"Reports in time", Grouped(funnel.reported),
       fmt::format("of {} devices selected", Grouped(funnel.selected))});
  tiles.push_back({"Bytes",
                   BytesText(SaturatedSum(run.bytes_down, run.bytes_up)),
                   fmt::format("{} down, {} up", BytesText(run.bytes_down),
                               BytesText(run.bytes_up))});
  tiles.push_back(
      {"Virtual time", FormatSeconds(run.span_s),
       fmt::format("{} training on all devices", FormatSeconds(run.busy_s))});
  tiles.push_back({"Utilisation", Known(run.utilisation, PercentText),
                   "of all device time spent training"});
  const auto index = [](double value) { return fmt::format("{:.3f}", value); };
  tiles.push_back({"Jain index of clients",
                   run.spread ? index(run.spread->jain) : std::string(kDash),
                   run.spread ? "1: the model serves all alike"
                              : std::string(AbsentText(run.header.masked))});
  tiles.push_back({"Jain index of contributions",
                   Known(run.participation, index),
                   "1: all clients contributed as often"});
  return RenderTiles(tiles);
}

std::string SettingsOf(const RunSummary& run) {
  HtmlTable table{.caption = "Settings as the log states them",
                  .head = {"setting", "value"},
                  .rows = {},
                  .texts = 2};
  table.rows.push_back({"run", run.header.run});
  for (const auto& [key, value] : run.header.settings) {
    table.rows.push_back({key, value});
  }
  return Folded("Settings", RenderTable(table));
}

std::vector<std::string> RoundRow(const RunSummary& run,
                                  const RoundSummary& round) {
  std::vector<std::string> row = {
      std::to_string(round.round),
      Known(round.measure.Perplexity(), PerplexityText)};
  const Funnel& funnel = round.funnel;
  const bool was_run = round.state != RoundState::kNotRun;
  for (const int64_t count :
       {funnel.asked, funnel.selected, funnel.reported, funnel.late,
        funnel.dropped, funnel.refused, funnel.declined, funnel.unanswered}) {
    row.push_back(was_run ? Grouped(count) : std::string(kDash));
  }
  row.push_back(Known(round.updates, Grouped));
  row.push_back(was_run ? BytesText(round.bytes_down) : std::string(kDash));
  row.push_back(was_run ? BytesText(round.bytes_up) : std::string(kDash));
  if (!run.header.masked) {
    row.push_back(Known(round.train_loss, [](double value) {
      return fmt::format("{:.4g}", value);
    }));
  }
  row.push_back(Known(round.start, FormatSeconds));
  row.push_back(Known(round.end, FormatSeconds));
  row.emplace_back(RoundStateName(round.state));
  return row;
}

std::string Rounds(const RunSummary& run) {
  HtmlTable table;
  table.caption =
      "Rounds; perplexity is that of the adapter that the round made, training "
      "loss the mean over reports";
  table.head = {"round",    "perplexity",    "asked",   "selected",
                "reported", "late",          "dropped", "refused",
                "declined", "no answer",     "updates", "bytes down",
                "bytes up", "training loss", "start",   "end",
                "state"};
  if (run.header.masked) std::erase(table.head, "training loss");
  for (const RoundSummary& round : run.rounds) {
    table.rows.push_back(RoundRow(run, round));
  }
  std::string out = RenderTable(table);
  if (run.header.masked) {
    out += Paragraph(fmt::format("Training losses: {}.", AbsentText(true)));
  }
  return out;
}

std::string Groups(const RunSummary& run) {
  const auto groups = WorstGroups(run);
  if (groups.empty()) {
    return Paragraph(fmt::format("Perplexity of groups and clients: {}.",
                                 AbsentText(run.header.masked)));
  }
  HtmlTable table;
  table.caption = fmt::format(
      "Groups at version {}, highest perplexity first ({} of {} shown; "
      "groups.csv has all)",
      run.measured_version.value_or(0), groups.size(), run.groups.size());
  table.head = {"group",      "perplexity",   "clients measured",
                "mean",       "deviation",    "worst tenth",
                "Jain index", "contributions"};
  for (const GroupSummary* group : groups) {
    const Spread& spread = *group->spread;
    table.rows.push_back(
        {group->name.empty() ? "(no group)" : group->name,
         PerplexityText(*group->measure.Perplexity()),
         fmt::format("{} of {}", spread.clients, group->clients),
         PerplexityText(spread.mean), PerplexityText(spread.deviation),
         PerplexityText(spread.worst_decile),
         fmt::format("{:.3f}", spread.jain), Grouped(group->contributions)});
  }
  const Spread& all = *run.spread;
  return RenderTable(table) +
         Paragraph(fmt::format(
             "Over {} clients of all groups: mean {}, standard deviation {}, "
             "worst tenth {}, Jain index {:.3f}. The Jain index is (sum x)^2 / "
             "(n sum x^2) of x = 1 / perplexity (Jain, Chiu, Hawe, 1984): 1 "
             "when all are served alike, 1/n when one is alone.",
             Grouped(all.clients), PerplexityText(all.mean),
             PerplexityText(all.deviation), PerplexityText(all.worst_decile),
             all.jain));
}

std::string Baselines(const RunSummary& run) {
  if (run.baselines.empty()) return "";
  HtmlTable table{.caption = "Baselines beside the federated adapter",
                  .head = {"name", "perplexity", "tokens"},
                  .rows = {}};
  for (const auto& [name, measure] : run.baselines) {
    table.rows.push_back({name, Known(measure.Perplexity(), PerplexityText),
                          Grouped(measure.tokens)});
  }
  return RenderTable(table);
}

// The closing evaluation and why devices declined; nothing where there was
// neither.
std::string Sessions(const RunSummary& run) {
  std::string out;
  const Funnel& evaluation = run.evaluation;
  if (evaluation.selected > 0) {
    out += Paragraph(fmt::format(
        "Closing evaluation: {} devices selected, {} reported, {} late, {} "
        "dropped, {} refused, {} declined, {} without an answer.",
        Grouped(evaluation.selected), Grouped(evaluation.reported),
        Grouped(evaluation.late), Grouped(evaluation.dropped),
        Grouped(evaluation.refused), Grouped(evaluation.declined),
        Grouped(evaluation.unanswered)));
  }
  if (run.declined_for.empty()) return out;
  HtmlTable table{.caption = "Why devices declined",
                  .head = {"reason", "times"},
                  .rows = {}};
  for (const auto& [reason, times] : run.declined_for) {
    table.rows.push_back({reason, Grouped(times)});
  }
  return out + RenderTable(table);
}

// A figure, or in words why there is none.
std::string Or(std::string figure, std::string_view what, bool masked) {
  if (!figure.empty()) return figure;
  return fmt::format(
      "<figure>{}</figure>\n",
      Paragraph(fmt::format("{}: {}.", what, AbsentText(masked))));
}

}  // namespace

std::string NameOfRun(const RunHeader& header) {
  return header.name.empty() ? "Run " + header.run.substr(0, 8) : header.name;
}

std::string IncompleteText(const RunSummary& run) {
  if (run.state && !run.cut) return "";
  const int64_t last = run.rounds.empty() ? 0 : run.rounds.back().round;
  return fmt::format(
      "The log stops in round {}, after {} of virtual time{}: the run was "
      "killed or is still going. Figures are those until then.",
      last, FormatSeconds(run.span_s),
      run.cut ? ", in the middle of a line" : "");
}

std::string LimitsSection(bool any_masked) {
  std::string items;
  const auto add = [&](std::string_view text) {
    items += fmt::format("<li>{}</li>\n", HtmlText(text));
  };
  add("Virtual time comes from device profiles: it is the simulator's "
      "reckoning, not a measurement of devices.");
  add("One run is one seed. How much another seed would change is not here; "
      "compare runs that differ in nothing else.");
  add("Perplexity is over held-out tokens of the devices that answered. Those "
      "that never answer are in no figure of it.");
  add("Figures of groups and clients are of the newest version that clients "
      "were measured at, and of these clients alone.");
  add("Bytes are those of downloads and uploads; connections, TLS and the base "
      "model are in it only as far as the log counts them.");
  add("A lower perplexity is not a better assistant, and nothing here says "
      "what an adapter gives away about the data.");
  if (any_masked) {
    add("Under masking the coordinator knows sums alone: losses, perplexities "
        "and updates of single clients or groups are not known, and not zero.");
  }
  return Section("What this report does not show",
                 fmt::format("<ul>\n{}</ul>\n", items));
}

std::string RenderRunPage(const RunSummary& run) {
  const bool masked = run.header.masked;
  const std::string name = NameOfRun(run.header);
  std::string body =
      fmt::format("<header><h1>{}</h1>\n<p class=\"lead\">{}</p></header>\n",
                  HtmlText(name), HtmlText(Lead(run)));
  const std::string incomplete = IncompleteText(run);
  if (!incomplete.empty()) {
    body += fmt::format("<p class=\"warn\">{}</p>\n", HtmlText(incomplete));
  }
  body += Tiles(run) + SettingsOf(run);
  const std::string accuracy = AccuracyFigure(run);
  std::string perplexity = PerplexityFigure(run);
  if (accuracy.empty()) {
    perplexity = Or(std::move(perplexity), "Held-out perplexity", false);
  }
  body += fmt::format("<div class=\"figures\">\n{}{}{}{}{}{}</div>\n", accuracy,
                      perplexity, FunnelFigure(run), BytesFigure(run),
                      Or(UtilisationFigure(run), "Utilisation", false),
                      Or(FairnessFigure(run), "Perplexity of groups", masked));
  body += Section("Rounds", Rounds(run) + Sessions(run));
  body += Section("Groups and baselines", Groups(run) + Baselines(run));
  return RenderPage(name, body + LimitsSection(masked));
}

}  // namespace edgetune
