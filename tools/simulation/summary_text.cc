#include "tools/simulation/summary_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "simulations/report/page/html.h"
#include "simulations/report/page/run_charts.h"
#include "simulations/report/page/run_page.h"
#include "tools/output.h"

namespace edgetune {
namespace {

std::string PerplexityLine(const RunSummary& run) {
  const auto points = PerplexityPoints(run);
  if (points.empty()) return "not measured";
  const auto& [first_version, first] = points.front();
  const auto& [last_version, last] = points.back();
  std::string line =
      fmt::format("{} at version {}", PerplexityText(last), last_version);
  if (points.size() > 1) {
    line =
        fmt::format("{} at version {}, {} ({:+.1f} %)", PerplexityText(first),
                    first_version, line, 100 * (last / first - 1));
  }
  for (const auto& [name, measure] : run.baselines) {
    if (const auto value = measure.Perplexity()) {
      line += fmt::format("; {} {}", name, PerplexityText(*value));
    }
  }
  return line;
}

// Of the last version that was tested, and the best; empty: none was.
std::string AccuracyLine(const RunSummary& run) {
  const RoundSummary *last = nullptr, *best = nullptr;
  for (const RoundSummary& round : run.rounds) {
    const auto accuracy = round.test.Accuracy();
    if (!accuracy) continue;
    last = &round;
    if (best == nullptr || *accuracy > *best->test.Accuracy()) best = &round;
  }
  if (last == nullptr) return "";
  return fmt::format(
      "{:.2f} % of the test set at version {}, at most {:.2f} % at version {}",
      100 * *last->test.Accuracy(), last->round, 100 * *best->test.Accuracy(),
      best->round);
}

std::string FairnessLine(const RunSummary& run) {
  if (!run.spread) return std::string(AbsentText(run.header.masked));
  return fmt::format(
      "{} clients: mean {}, deviation {}, worst tenth {}, Jain index {:.3f}",
      Grouped(run.spread->clients), PerplexityText(run.spread->mean),
      PerplexityText(run.spread->deviation),
      PerplexityText(run.spread->worst_decile), run.spread->jain);
}

std::string EvaluationLine(const Funnel& evaluation) {
  if (evaluation.selected == 0) return "none";
  return fmt::format(
      "{} selected: {} reported, {} dropped, {} late; {} declined",
      Grouped(evaluation.selected), Grouped(evaluation.reported),
      Grouped(evaluation.dropped), Grouped(evaluation.late),
      Grouped(evaluation.declined));
}

// How long, and which share of the devices' time was spent training.
std::string TimeLine(const RunSummary& run) {
  if (!run.utilisation) return FormatSeconds(run.span_s) + " virtual";
  return fmt::format("{} virtual, {} of all device time training",
                     FormatSeconds(run.span_s), PercentText(*run.utilisation));
}

}  // namespace

std::string SummaryText(const RunSummary& run) {
  const Funnel& funnel = run.funnel;
  const auto committed = std::ranges::count(run.rounds, RoundState::kCommitted,
                                            &RoundSummary::state);
  std::vector<std::vector<std::string>> rows = {
      {"run", NameOfRun(run.header)},
      {"rounds", fmt::format("{} of {} committed, {} clients, {}", committed,
                             run.header.rounds, Grouped(run.header.clients),
                             run.state.value_or("not ended"))},
      {"perplexity", PerplexityLine(run)},
      {"devices",
       fmt::format("{} selected: {} reported, {} late, {} dropped, {} "
                   "refused, {} without an answer; {} declined",
                   Grouped(funnel.selected), Grouped(funnel.reported),
                   Grouped(funnel.late), Grouped(funnel.dropped),
                   Grouped(funnel.refused), Grouped(funnel.unanswered),
                   Grouped(funnel.declined))},
      {"evaluation", EvaluationLine(run.evaluation)},
      {"bytes", fmt::format("{} down, {} up", BytesText(run.bytes_down),
                            BytesText(run.bytes_up))},
      {"time", TimeLine(run)},
      {"fairness", FairnessLine(run)}};
  if (const std::string accuracy = AccuracyLine(run); !accuracy.empty()) {
    rows.insert(rows.begin() + 3, {"accuracy", accuracy});
  }
  std::string text = FormatTable(rows);
  for (const auto& [reason, times] : run.declined_for) {
    text += fmt::format("declined {} times: {}\n", Grouped(times), reason);
  }
  const std::string incomplete = IncompleteText(run);
  return incomplete.empty() ? text : text + incomplete + "\n";
}

std::string ComparisonText(const Comparison& comparison) {
  const std::string target =
      comparison.target ? PerplexityText(*comparison.target) : "-";
  std::vector<std::vector<std::string>> cells = {{"run", "perplexity",
                                                  "rounds to " + target,
                                                  "bytes to it", "time to it"}};
  for (const ComparedRun& run : comparison.runs) {
    cells.push_back({run.label, run.final_perplexity
                                    ? PerplexityText(*run.final_perplexity)
                                    : "not measured"});
    if (!run.reached) {
      cells.back().insert(cells.back().end(), {"-", "-", "-"});
      continue;
    }
    cells.back().push_back(Grouped(run.reached->round));
    cells.back().push_back(BytesText(run.reached->bytes));
    cells.back().push_back(FormatSeconds(run.reached->seconds));
  }
  return FormatTable(cells, {1, 2, 3, 4});
}

}  // namespace edgetune
