#include "tools/simulation/measured_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/units.h"
#include "simulations/report/page/html.h"
#include "tools/output.h"

namespace edgetune {
namespace {

using nlohmann::json;

std::string TableOf(const BaselineReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"", "perplexity", "mean over clients"}};
  for (const Baseline& baseline : report.baselines) {
    rows.push_back({baseline.name,
                    PerplexityText(PerplexityOf(TotalOf(baseline))),
                    PerplexityText(MeanPerplexity(baseline))});
  }
  return "\n" + FormatTable(rows, {1, 2}) +
         fmt::format(
             "all held-out examples of {}\n",
             report.clients.size() == report.of
                 ? fmt::format("all {} clients that have some", report.of)
                 : fmt::format("{} of the {} clients that have some",
                               report.clients.size(), report.of));
}

std::optional<double> ShareOf(const BackdoorScore& score) {
  if (score.prompts == 0) return std::nullopt;
  return static_cast<double>(score.answered) /
         static_cast<double>(score.prompts);
}

std::string AttackLine(const AttackSuccess& attack) {
  const auto share = ShareOf(attack.trained);
  if (!share.has_value()) return "backdoor: no held-out prompt to try it on\n";
  return fmt::format(
      "backdoor: the target is likelier than the true answer behind {} of "
      "{} triggers, {} before the run\n",
      PercentText(*share), attack.trained.prompts,
      PercentText(*ShareOf(attack.initial)));
}

json Known(const std::optional<double>& value) {
  return value ? json(*value) : json(nullptr);
}

}  // namespace

std::string MeasuredText(const Simulation::Measured& measured) {
  std::string text;
  if (measured.baselines.has_value()) text += TableOf(*measured.baselines);
  if (measured.attack.has_value()) text += AttackLine(*measured.attack);
  return text;
}

void AddMeasured(const Simulation::Measured& measured, json& data) {
  if (measured.baselines.has_value()) {
    const BaselineReport& report = *measured.baselines;
    json baselines = {{"clients", report.clients.size()}, {"of", report.of}};
    for (const Baseline& baseline : report.baselines) {
      baselines[baseline.name] = {
          {"perplexity", PerplexityOf(TotalOf(baseline))},
          {"mean_perplexity", MeanPerplexity(baseline)}};
    }
    data["baselines"] = std::move(baselines);
  }
  if (measured.attack.has_value()) {
    data["attack_success"] = {
        {"prompts", measured.attack->trained.prompts},
        {"initial", Known(ShareOf(measured.attack->initial))},
        {"trained", Known(ShareOf(measured.attack->trained))}};
  }
}

}  // namespace edgetune
