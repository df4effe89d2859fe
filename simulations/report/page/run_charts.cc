#include "simulations/report/page/run_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "simulations/report/page/html.h"

namespace edgetune {
namespace {

constexpr size_t kMostColumns = 60;  // more would be thinner than their gaps

// Rounds that were run, cut into columns of as many rounds each.
struct Columns {
  std::vector<std::vector<const RoundSummary*>> rounds;
  int64_t first = 1, last = 1, per_column = 1;
};

Columns ColumnsOf(const RunSummary& run) {
  Columns columns;
  std::vector<const RoundSummary*> rounds;
  for (const RoundSummary& round : run.rounds) {
    if (round.state != RoundState::kNotRun) rounds.push_back(&round);
  }
  if (rounds.empty()) return columns;
  columns.first = rounds.front()->round;
  columns.last = rounds.back()->round;
  const int64_t span = columns.last - columns.first + 1;
  columns.per_column = (span - 1) / static_cast<int64_t>(kMostColumns) + 1;
  columns.rounds.resize(
      static_cast<size_t>((span - 1) / columns.per_column + 1));
  for (const RoundSummary* round : rounds) {
    const int64_t at = (round->round - columns.first) / columns.per_column;
    columns.rounds[static_cast<size_t>(at)].push_back(round);
  }
  return columns;
}

std::string NameOf(const Columns& columns, size_t index) {
  const int64_t first =
      columns.first + static_cast<int64_t>(index) * columns.per_column;
  if (columns.per_column == 1) return fmt::format("round {}", first);
  return fmt::format("rounds {} to {}", first,
                     std::min(first + columns.per_column - 1, columns.last));
}

std::string NoteOf(const Columns& columns) {
  if (columns.per_column == 1) return "";
  return fmt::format(" A column is the mean of {} rounds.", columns.per_column);
}

// The mean of a figure over the rounds of a column; 0 without any.
template <typename Figure>
double MeanOf(const std::vector<const RoundSummary*>& rounds, Figure figure) {
  double sum = 0;
  for (const RoundSummary* round : rounds) {
    sum += static_cast<double>(figure(*round));
  }
  return rounds.empty() ? 0 : sum / static_cast<double>(rounds.size());
}

struct FunnelPart {
  const char* name;
  char colour;
  int64_t Funnel::*count;
};
constexpr FunnelPart kFunnel[] = {
    {"reported", '0', &Funnel::reported},
    {"late", 'a', &Funnel::late},
    {"dropped", '1', &Funnel::dropped},
    {"refused", '3', &Funnel::refused},
    {"declined", '6', &Funnel::declined},
    {"no answer", 'n', &Funnel::unanswered},
};

std::string FunnelText(const Funnel& funnel) {
  std::string text;
  for (const FunnelPart& part : kFunnel) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ",
                        Grouped(funnel.*part.count), part.name);
  }
  return text;
}

std::vector<double> ReferencesOf(const GroupSummary& group,
                                 const std::vector<std::string>& names) {
  std::vector<double> values;
  for (const std::string& name : names) {
    const auto found = group.baselines.find(name);
    const auto value = found == group.baselines.end()
                           ? std::nullopt
                           : found->second.Perplexity();
    values.push_back(value && std::isfinite(*value) ? *value : -1);
  }
  return values;
}

std::vector<std::string> BaselineNames(const RunSummary& run) {
  std::vector<std::string> names;
  for (const GroupSummary& group : run.groups) {
    for (const auto& [name, measure] : group.baselines) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

// [t0, t1) of each part of the span as corners of a staircase.
std::vector<std::pair<double, double>> Staircase(const RunSummary& run,
                                                 const Unit& unit) {
  std::vector<std::pair<double, double>> points;
  const double bin = run.span_s / kTimeBins / unit.size;
  for (size_t i = 0; i < run.utilisation_over_time.size(); ++i) {
    const double percent = 100 * run.utilisation_over_time[i];
    points.emplace_back(static_cast<double>(i) * bin, percent);
    points.emplace_back(static_cast<double>(i + 1) * bin, percent);
  }
  return points;
}

}  // namespace

Unit BytesUnit(double most) {
  constexpr const char* kNames[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  Unit unit{1, kNames[0]};
  for (size_t i = 1; i < std::size(kNames) && most >= unit.size * 1000; ++i) {
    unit = {unit.size * 1000, kNames[i]};
  }
  return unit;
}

Unit SecondsUnit(double most) {
  if (most < 300) return {1, "seconds"};
  if (most < 3 * 3600) return {60, "minutes"};
  if (most < 3 * 86400) return {3600, "hours"};
  return {86400, "days"};
}

std::vector<std::pair<double, double>> PerplexityPoints(const RunSummary& run) {
  std::vector<std::pair<double, double>> points;
  for (const RoundSummary* round : run.MeasuredRounds()) {
    const double value = *round->measure.Perplexity();
    if (std::isfinite(value)) {
      points.emplace_back(static_cast<double>(round->round), value);
    }
  }
  return points;
}

std::string PerplexityFigure(const RunSummary& run) {
  LineChart chart;
  chart.figure = {
      .id = "perplexity",
      .title = "Held-out perplexity by round",
      .note =
          "Federated evaluation: devices measure the adapter on examples "
          "that they do not train on. Lower is better; the axis need not "
          "begin at zero.",
      .description = "",
      .hero = true};
  chart.x_name = "round";
  chart.y_name = "perplexity";
  chart.whole_x = true;
  chart.series.push_back({"federated", PerplexityPoints(run)});
  const auto& points = chart.series.front().points;
  if (points.empty()) return "";
  chart.figure.description =
      fmt::format("Perplexity {} at version {:.0f}, {} at version {:.0f}.",
                  PerplexityText(points.front().second), points.front().first,
                  PerplexityText(points.back().second), points.back().first);
  for (const auto& [name, measure] : run.baselines) {
    const auto value = measure.Perplexity();
    if (!value || !std::isfinite(*value)) continue;
    chart.references.push_back({name, *value});
    chart.figure.description +=
        fmt::format(" Baseline {}: {}.", name, PerplexityText(*value));
  }
  return RenderLineChart(chart);
}

std::string AccuracyFigure(const RunSummary& run) {
  LineChart chart;
  chart.figure = {.id = "accuracy",
                  .title = "Accuracy by round",
                  .note =
                      "Share of images whose class is told. Test set: images "
                      "that no device holds. Held out: by devices, of their "
                      "own. The axis need not begin at zero.",
                  .description = "",
                  .hero = true};
  chart.x_name = "round";
  chart.y_name = "% of images";
  chart.whole_x = true;
  for (const auto& [name, told] :
       {std::pair("test set", &RoundSummary::test),
        std::pair("held out", &RoundSummary::held_out)}) {
    std::vector<std::pair<double, double>> points;
    for (const RoundSummary& round : run.rounds) {
      if (const auto accuracy = (round.*told).Accuracy()) {
        points.emplace_back(static_cast<double>(round.round), 100 * *accuracy);
      }
    }
    if (points.empty()) continue;
    chart.figure.description += fmt::format(
        "{}{}: {:.2f} % at version {:.0f}.", chart.series.empty() ? "" : " ",
        name, points.back().second, points.back().first);
    chart.series.push_back({name, std::move(points)});
  }
  return chart.series.empty() ? "" : RenderLineChart(chart);
}

std::string FunnelFigure(const RunSummary& run) {
  const Columns columns = ColumnsOf(run);
  StackedChart chart;
  chart.figure = {
      .id = "funnel",
      .title = "What became of the devices",
      .note = "By round, all attempts of it together." + NoteOf(columns),
      .description = "All rounds: " + FunnelText(run.funnel) + "."};
  chart.x_name = "round";
  chart.y_name = "devices";
  chart.mark_name = "asked";
  chart.first = columns.first;
  chart.per_column = columns.per_column;
  for (const FunnelPart& part : kFunnel) {
    chart.parts.push_back({part.name, part.colour});
  }
  for (size_t i = 0; i < columns.rounds.size(); ++i) {
    const auto& rounds = columns.rounds[i];
    StackedChart::Column column;
    column.name = NameOf(columns, i);
    if (rounds.size() == 1) {
      column.name += ": " + FunnelText(rounds.front()->funnel);
    }
    for (const FunnelPart& part : kFunnel) {
      column.values.push_back(MeanOf(rounds, [&](const RoundSummary& round) {
        return round.funnel.*part.count;
      }));
    }
    column.mark = rounds.empty() ? -1 : MeanOf(rounds, [](const auto& round) {
      return round.funnel.asked;
    });
    chart.columns.push_back(std::move(column));
  }
  return RenderStackedChart(chart);
}

std::string BytesFigure(const RunSummary& run) {
  const Columns columns = ColumnsOf(run);
  double most = 0;
  for (const RoundSummary& round : run.rounds) {
    most = std::max(most, static_cast<double>(round.bytes_down) +
                              static_cast<double>(round.bytes_up));
  }
  const Unit unit = BytesUnit(most);
  StackedChart chart;
  chart.figure = {.id = "bytes",
                  .title = "Bytes between devices and coordinator",
                  .note = "Down: what devices fetched. Up: what they sent." +
                          NoteOf(columns),
                  .description = fmt::format("All rounds: {} down, {} up.",
                                             BytesText(run.bytes_down),
                                             BytesText(run.bytes_up))};
  chart.x_name = "round";
  chart.y_name = unit.name + " a round";
  chart.parts = {{"down", '0'}, {"up", 'a'}};
  chart.first = columns.first;
  chart.per_column = columns.per_column;
  for (size_t i = 0; i < columns.rounds.size(); ++i) {
    const auto& rounds = columns.rounds[i];
    const double down =
        MeanOf(rounds, [](const auto& r) { return r.bytes_down; });
    const double up = MeanOf(rounds, [](const auto& r) { return r.bytes_up; });
    chart.columns.push_back(
        {.name = fmt::format("{}: {} down, {} up", NameOf(columns, i),
                             BytesText(std::llround(down)),
                             BytesText(std::llround(up))),
         .values = {down / unit.size, up / unit.size}});
  }
  return RenderStackedChart(chart);
}

std::string UtilisationFigure(const RunSummary& run) {
  if (run.utilisation_over_time.empty()) return "";
  const Unit unit = SecondsUnit(run.span_s);
  LineChart chart;
  chart.figure = {
      .id = "utilisation",
      .title = "Share of devices that train, over virtual time",
      .note =
          "From reports alone: work that was late, dropped or refused is "
          "not in it, and each training is put right before its report.",
      .description = fmt::format("{} of all device time was spent training.",
                                 PercentText(run.utilisation.value_or(0)))};
  chart.x_name = unit.name + " of virtual time";
  chart.y_name = "% of all devices";
  chart.from_zero = true;
  chart.series.push_back(
      {.name = "", .points = Staircase(run, unit), .filled = true});
  return RenderLineChart(chart);
}

std::vector<const GroupSummary*> WorstGroups(const RunSummary& run) {
  std::vector<const GroupSummary*> groups;
  for (const GroupSummary& group : run.groups) {
    if (group.spread) groups.push_back(&group);
  }
  const auto worse = [](const GroupSummary* a, const GroupSummary* b) {
    return *a->measure.Perplexity() > *b->measure.Perplexity();
  };
  std::ranges::stable_sort(groups, worse);
  if (groups.size() > kMostGroups) groups.resize(kMostGroups);
  return groups;
}

std::string FairnessFigure(const RunSummary& run) {
  SpreadChart chart;
  chart.figure = {
      .id = "fairness",
      .title = fmt::format("Perplexity of groups, version {}",
                           run.measured_version.value_or(0)),
      .note =
          "Highest first. Worst tenth: mean over the tenth of the group's "
          "clients that fare worst.",
      .description = ""};
  chart.x_name = "perplexity";
  chart.reference_names = BaselineNames(run);
  for (const GroupSummary* group : WorstGroups(run)) {
    const double value = *group->measure.Perplexity();
    const Spread& spread = *group->spread;
    if (!std::isfinite(value) || !std::isfinite(spread.worst_decile)) continue;
    chart.bars.push_back(
        {.name = group->name.empty() ? "(no group)" : group->name,
         .value = value,
         .mean = spread.mean,
         .deviation = spread.deviation,
         .worst = spread.worst_decile,
         .references = ReferencesOf(*group, chart.reference_names)});
  }
  if (chart.bars.empty()) return "";
  chart.figure.description = fmt::format(
      "Highest: {} with {}. Lowest shown: {} with {}.", chart.bars.front().name,
      PerplexityText(chart.bars.front().value), chart.bars.back().name,
      PerplexityText(chart.bars.back().value));
  return RenderSpreadChart(chart);
}

}  // namespace edgetune
