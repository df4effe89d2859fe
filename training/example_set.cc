#include "training/example_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {

std::string RemarksOf(const DataReport& report) {
  std::string text;
  if (report.truncated > 0) {
    text += fmt::format("; {} cut to the longest length", report.truncated);
  }
  if (report.label_less > 0) {
    text += fmt::format("; {} left out, nothing to learn", report.label_less);
  }
  if (report.specials_in_content > 0) {
    text += fmt::format("; {} special tokens written out, taken as plain text",
                        report.specials_in_content);
  }
  if (report.other_files > 0) {
    text += fmt::format("; {} files left out, no images by their names",
                        report.other_files);
  }
  return text;
}

std::unique_ptr<ExampleSet> ExampleSet::Select(
    std::span<const size_t> indices) const {
  Parts part = {.lender = parts_.lender, .targets = parts_.targets};
  for (const size_t index : indices) {
    if (parts_.targets != nullptr) {
      part.first_targets.push_back(parts_.first_targets[index]);
    }
    part.examples.push_back(parts_.examples[index]);
    part.positions.push_back(parts_.positions[index]);
    part.report.labelled_tokens += PredictedLabels(parts_.examples[index]);
  }
  part.report.schema = parts_.report.schema;
  part.report.examples = static_cast<int64_t>(part.examples.size());
  return std::make_unique<ExampleSet>(std::move(part));
}

std::unique_ptr<ExampleSet> ExampleSet::WithTargets(
    std::shared_ptr<const TeacherTargets> targets) const {
  Parts same = parts_;
  same.targets = std::move(targets);
  same.first_targets.clear();
  int64_t positions = 0;
  for (const LabelledTokens& example : same.examples) {
    same.first_targets.push_back(positions);
    positions += PredictedLabels(example);
  }
  return std::make_unique<ExampleSet>(std::move(same));
}

std::unique_ptr<ExampleSet> ExampleSet::WithExamples(
    std::vector<LabelledTokens> examples) const {
  EDGETUNE_CHECK(examples.size() == parts_.examples.size());
  Parts other = {.positions = parts_.positions, .lender = parts_.lender};
  for (const LabelledTokens& example : examples) {
    other.report.labelled_tokens += PredictedLabels(example);
  }
  other.examples = std::move(examples);
  other.report.schema = parts_.report.schema;
  other.report.examples = size();
  return std::make_unique<ExampleSet>(std::move(other));
}

std::pair<std::unique_ptr<ExampleSet>, std::unique_ptr<ExampleSet>>
ExampleSet::Split(double fraction, uint64_t seed) const {
  const auto n = static_cast<double>(parts_.examples.size());
  // NaN and what is below 0 leave nothing held out; one example stays to
  // train on.
  double held = fraction > 0 ? std::max(1.0, std::round(fraction * n)) : 0;
  held = std::max(0.0, std::min(held, n - 1));
  std::vector<size_t> order(parts_.examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random random = Random(seed).Split("held out");
  random.Shuffle(order);
  const std::span<const size_t> all(order);
  const size_t trained = order.size() - static_cast<size_t>(held);
  return {Select(all.first(trained)), Select(all.subspan(trained))};
}

}  // namespace edgetune
