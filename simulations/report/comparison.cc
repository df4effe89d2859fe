#include "simulations/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "simulations/report/csv_tables.h"

namespace edgetune {
namespace {

using Settings = std::map<std::string, std::string>;

Settings SettingsOf(const RunHeader& header) {
  Settings settings = header.settings;
  settings["clients"] = std::to_string(header.clients);
  settings["cohort"] = std::to_string(header.cohort);
  settings["masked"] = header.masked ? "yes" : "no";
  settings["rounds"] = std::to_string(header.rounds);
  settings["seed"] = std::to_string(header.seed);
  return settings;
}

std::string ValueAt(const Settings& settings, const std::string& key) {
  const auto found = settings.find(key);
  return found == settings.end() ? "" : found->second;
}

std::vector<std::string> DifferingOf(const std::vector<Settings>& all) {
  std::set<std::string> keys;
  for (const Settings& settings : all) {
    for (const auto& [key, value] : settings) keys.insert(key);
  }
  std::vector<std::string> differing;
  for (const std::string& key : keys) {
    const auto same = [&](const Settings& settings) {
      return settings.contains(key) == all.front().contains(key) &&
             ValueAt(settings, key) == ValueAt(all.front(), key);
    };
    if (!std::ranges::all_of(all, same)) differing.push_back(key);
  }
  return differing;
}

bool AllDiffer(const std::vector<std::string>& labels) {
  return std::set(labels.begin(), labels.end()).size() == labels.size() &&
         std::ranges::find(labels, "") == labels.end();
}

// "train.lr=0.01" of each run, with as few of the settings as tell all runs
// apart: one alone if it does, else the first so many; a seed comes last.
std::vector<std::string> LabelsBySettings(const Comparison& comparison) {
  std::vector<size_t> keys(comparison.differing.size());
  std::iota(keys.begin(), keys.end(), size_t{0});
  std::ranges::stable_partition(
      keys, [&](size_t key) { return comparison.differing[key] != "seed"; });
  const auto labels_of = [&](std::span<const size_t> chosen) {
    std::vector<std::string> labels(comparison.runs.size());
    for (const size_t key : chosen) {
      for (size_t i = 0; i < labels.size(); ++i) {
        labels[i] += fmt::format("{}{}={}", labels[i].empty() ? "" : ", ",
                                 comparison.differing[key],
                                 comparison.runs[i].settings[key]);
      }
    }
    return labels;
  };
  for (const size_t key : keys) {
    const auto labels = labels_of({&key, 1});
    if (AllDiffer(labels)) return labels;
  }
  for (size_t count = 2; count < keys.size(); ++count) {
    const auto labels = labels_of(std::span(keys).first(count));
    if (AllDiffer(labels)) return labels;
  }
  return labels_of(keys);
}

std::vector<std::string> LabelsOf(const std::vector<RunSummary>& runs,
                                  const Comparison& comparison) {
  std::vector<std::string> labels;
  for (const RunSummary& run : runs) labels.push_back(run.header.name);
  if (AllDiffer(labels)) return labels;
  labels = LabelsBySettings(comparison);
  if (AllDiffer(labels)) return labels;
  for (size_t i = 0; i < runs.size(); ++i) labels[i] = runs[i].source;
  if (AllDiffer(labels)) return labels;
  for (size_t i = 0; i < runs.size(); ++i) {
    labels[i] = fmt::format("{} ({})", runs[i].source, i + 1);
  }
  return labels;
}

std::optional<double> LowestOf(const RunSummary& run) {
  std::optional<double> lowest;
  for (const Milestone& progress : MilestonesOf(run)) {
    lowest =
        std::min(lowest.value_or(progress.perplexity), progress.perplexity);
  }
  return lowest;
}

// The lowest that all came to: the worst of their best.
std::optional<double> CommonTarget(const std::vector<RunSummary>& runs) {
  double target = 0;
  for (const RunSummary& run : runs) {
    const std::optional<double> lowest = LowestOf(run);
    if (!lowest || !std::isfinite(*lowest)) return std::nullopt;
    target = std::max(target, *lowest);
  }
  return target;
}

}  // namespace

std::vector<Milestone> MilestonesOf(const RunSummary& run) {
  std::vector<Milestone> measured;
  Milestone at;
  for (const RoundSummary& round : run.rounds) {
    at.round = round.round;
    at.bytes = SaturatedSum(at.bytes, round.bytes_down);
    at.bytes = SaturatedSum(at.bytes, round.bytes_up);
    at.seconds = std::max(at.seconds, round.end.value_or(0));
    const std::optional<double> perplexity = round.measure.Perplexity();
    if (!perplexity) continue;
    at.perplexity = *perplexity;
    measured.push_back(at);
  }
  return measured;
}

std::optional<Milestone> FirstAt(const RunSummary& run, double perplexity) {
  for (const Milestone& progress : MilestonesOf(run)) {
    if (progress.perplexity <= perplexity) return progress;
  }
  return std::nullopt;
}

Comparison Compare(const std::vector<RunSummary>& runs,
                   std::optional<double> target) {
  std::vector<Settings> settings;
  for (const RunSummary& run : runs) {
    settings.push_back(SettingsOf(run.header));
  }
  Comparison comparison;
  comparison.differing = DifferingOf(settings);
  comparison.target = target ? target : CommonTarget(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    ComparedRun row;
    for (const std::string& key : comparison.differing) {
      row.settings.push_back(ValueAt(settings[i], key));
    }
    const std::vector<Milestone> progress = MilestonesOf(runs[i]);
    if (!progress.empty()) row.final_perplexity = progress.back().perplexity;
    if (comparison.target) row.reached = FirstAt(runs[i], *comparison.target);
    comparison.runs.push_back(std::move(row));
  }
  const std::vector<std::string> labels = LabelsOf(runs, comparison);
  for (size_t i = 0; i < runs.size(); ++i) comparison.runs[i].label = labels[i];
  return comparison;
}

std::string ComparisonCsv(const Comparison& comparison) {
  CsvTable csv(
      "label,final_perplexity,target_perplexity,rounds_to_target,"
      "bytes_to_target,seconds_to_target,settings");
  for (const ComparedRun& run : comparison.runs) {
    csv.Text(run.label).Number(run.final_perplexity).Number(comparison.target);
    const auto reached = [&](auto Milestone::*figure) {
      csv.Number(run.reached ? std::optional((*run.reached).*figure)
                             : std::nullopt);
    };
    reached(&Milestone::round);
    reached(&Milestone::bytes);
    reached(&Milestone::seconds);
    std::string settings;
    for (size_t i = 0; i < comparison.differing.size(); ++i) {
      settings += fmt::format("{}{}={}", i == 0 ? "" : "; ",
                              comparison.differing[i], run.settings[i]);
    }
    csv.Text(settings).EndRow();
  }
  return csv.text();
}

}  // namespace edgetune
