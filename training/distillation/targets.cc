#include "training/distillation/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/status.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

void HeldTargets::Append(const TopTokens& row) {
  EDGETUNE_CHECK(static_cast<int64_t>(row.ids.size()) == k_ &&
                 row.log_probabilities.size() == row.ids.size());
  ids_.insert(ids_.end(), row.ids.begin(), row.ids.end());
  log_probabilities_.insert(log_probabilities_.end(),
                            row.log_probabilities.begin(),
                            row.log_probabilities.end());
  rest_.push_back(row.log_rest);
}

std::string HeldTargets::digest() const {
  Sha256Stream hash;
  const auto add = [&hash](const auto& numbers) {
    const auto bytes = std::as_bytes(std::span(numbers));
    hash.Update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  };
  add(std::vector<int64_t>{k_, positions()});
  add(std::vector<double>{temperature_});
  add(ids_);
  add(log_probabilities_);
  add(rest_);
  return ToHex(hash.Finish());
}

void HeldTargets::Read(int64_t position, TopTokens& out) const {
  const auto k = static_cast<std::ptrdiff_t>(k_);
  const auto at = static_cast<std::ptrdiff_t>(position) * k;
  out.ids.assign(ids_.begin() + at, ids_.begin() + at + k);
  out.log_probabilities.assign(log_probabilities_.begin() + at,
                               log_probabilities_.begin() + at + k);
  out.log_rest = rest_[static_cast<size_t>(position)];
}

absl::StatusOr<std::unique_ptr<const TargetRows>> TargetRows::Of(
    const ExampleSource& examples) {
  if (examples.targets() == nullptr) return nullptr;
  std::unique_ptr<TargetRows> out(new TargetRows(*examples.targets()));
  const int64_t positions = examples.targets()->positions();
  for (int64_t i = 0; i < examples.size(); ++i) {
    const LabelledTokens& example = examples.Get(i);
    const int64_t first = examples.FirstTarget(i);
    const int64_t end = first + PredictedLabels(example);
    if (first < 0 || end > positions) {
      return absl::FailedPreconditionError(fmt::format(
          "example {} has targets {} to {}, the teacher spoke at {} positions",
          i, first, end, positions));
    }
    out->first_[&example] = first;
  }
  return out;
}

int64_t PositionsBefore(const ExampleSource& examples, int64_t count) {
  int64_t positions = 0;
  for (int64_t i = 0; i < count; ++i) {
    positions += PredictedLabels(examples.Get(i));
  }
  return positions;
}

int64_t PositionsOf(const ExampleSource& examples) {
  return PositionsBefore(examples, examples.size());
}

}  // namespace edgetune
