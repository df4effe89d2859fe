#include "simulations/report/summary_json.h"

#include <nlohmann/json.hpp>

namespace edgetune {
namespace {

using nlohmann::json;

template <typename T>
json Known(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json FunnelJson(const Funnel& funnel) {
  return {{"asked", funnel.asked},       {"selected", funnel.selected},
          {"reported", funnel.reported}, {"refused", funnel.refused},
          {"late", funnel.late},         {"dropped", funnel.dropped},
          {"declined", funnel.declined}, {"unanswered", funnel.unanswered}};
}

json SpreadJson(const std::optional<Spread>& spread) {
  if (!spread) return nullptr;
  return {{"clients", spread->clients},
          {"mean", spread->mean},
          {"deviation", spread->deviation},
          {"worst_decile", spread->worst_decile},
          {"jain", spread->jain}};
}

json BaselinesJson(const std::map<std::string, Measure>& baselines) {
  json out = json::object();
  for (const auto& [name, measure] : baselines) {
    out[name] = Known(measure.Perplexity());
  }
  return out;
}

json RoundJson(const RoundSummary& round) {
  return {{"round", round.round},
          {"state", RoundStateName(round.state)},
          {"attempts", round.attempts},
          {"funnel", FunnelJson(round.funnel)},
          {"updates", Known(round.updates)},
          {"weight_sum", Known(round.weight_sum)},
          {"bytes_down", round.bytes_down},
          {"bytes_up", round.bytes_up},
          {"perplexity", Known(round.measure.Perplexity())},
          {"accuracy", Known(round.held_out.Accuracy())},
          {"test_accuracy", Known(round.test.Accuracy())},
          {"test_perplexity", Known(round.test_measure.Perplexity())},
          {"train_loss", Known(round.train_loss)},
          {"start_s", Known(round.start)},
          {"end_s", Known(round.end)},
          {"train_s", round.train_s}};
}

json GroupJson(const GroupSummary& group) {
  return {{"group", group.name},
          {"clients", group.clients},
          {"contributions", group.contributions},
          {"perplexity", Known(group.measure.Perplexity())},
          {"spread", SpreadJson(group.spread)},
          {"baselines", BaselinesJson(group.baselines)}};
}

}  // namespace

json SummaryJson(const RunSummary& run) {
  json rounds = json::array(), groups = json::array();
  for (const RoundSummary& round : run.rounds)
    rounds.push_back(RoundJson(round));
  for (const GroupSummary& group : run.groups)
    groups.push_back(GroupJson(group));
  return {{"run", run.header.run},
          {"name", run.header.name},
          {"seed", run.header.seed},
          {"clients", run.header.clients},
          {"clients_seen", run.clients.size()},
          {"planned_rounds", run.header.rounds},
          {"cohort", run.header.cohort},
          {"masked", run.header.masked},
          {"settings", run.header.settings},
          {"evaluation", FunnelJson(run.evaluation)},
          {"declined_for", run.declined_for},
          {"state", Known(run.state)},
          {"cut", run.cut},
          {"unknown_events", run.unknown_events},
          {"rounds", std::move(rounds)},
          {"groups", std::move(groups)},
          {"baselines", BaselinesJson(run.baselines)},
          {"funnel", FunnelJson(run.funnel)},
          {"bytes_down", run.bytes_down},
          {"bytes_up", run.bytes_up},
          {"measured_version", Known(run.measured_version)},
          {"spread", SpreadJson(run.spread)},
          {"participation", Known(run.participation)},
          {"span_s", run.span_s},
          {"busy_s", run.busy_s},
          {"utilisation", Known(run.utilisation)},
          {"utilisation_over_time", run.utilisation_over_time}};
}

json ComparisonJson(const Comparison& comparison) {
  json runs = json::array();
  for (const ComparedRun& run : comparison.runs) {
    json settings = json::object();
    for (size_t i = 0; i < run.settings.size(); ++i) {
      settings[comparison.differing[i]] = run.settings[i];
    }
    json row = {{"label", run.label},
                {"settings", std::move(settings)},
                {"final_perplexity", Known(run.final_perplexity)},
                {"rounds_to_target", nullptr},
                {"bytes_to_target", nullptr},
                {"seconds_to_target", nullptr}};
    if (run.reached) {
      row["rounds_to_target"] = run.reached->round;
      row["bytes_to_target"] = run.reached->bytes;
      row["seconds_to_target"] = run.reached->seconds;
    }
    runs.push_back(std::move(row));
  }
  return {{"target_perplexity", Known(comparison.target)},
          {"runs", std::move(runs)}};
}

}  // namespace edgetune
