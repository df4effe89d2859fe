#include "models/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "base/status.h"

namespace edgetune {

absl::Status CheckGenerateOptions(const GenerateOptions& o) {
  const char* wrong = nullptr;
  if (!(o.temperature >= 0) || !std::isfinite(o.temperature)) {
    wrong = "temperature must be finite and not negative";
  } else if (o.top_k < 0) {
    wrong = "top_k must not be negative (0 means all)";
  } else if (!(o.top_p > 0 && o.top_p <= 1)) {
    wrong = "top_p must lie above 0 and be at most 1";
  } else if (!(o.repeat_penalty >= 0.1 && o.repeat_penalty <= 10)) {
    wrong = "repeat_penalty must lie between 0.1 and 10 (1 means none)";
  } else if (o.max_tokens < 0) {
    wrong = "max_tokens must not be negative";
  }
  if (wrong == nullptr) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(wrong), ErrorKind::kUsage);
}

void PenaliseRepeats(std::span<const int32_t> seen, double penalty,
                     std::span<float> logits) {
  if (penalty == 1) return;
  const std::set<int32_t> once(seen.begin(), seen.end());
  for (const int32_t id : once) {
    float& logit = logits[static_cast<size_t>(id)];
    const double factor = logit > 0 ? 1 / penalty : penalty;
    logit = static_cast<float>(logit * factor);
  }
}

int32_t SampleToken(std::span<const float> logits, const GenerateOptions& o,
                    Random& random) {
  const auto highest = std::max_element(logits.begin(), logits.end());
  if (o.temperature == 0) {
    return static_cast<int32_t>(highest - logits.begin());
  }
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (o.top_k > 0) {
    ids.resize(std::min(ids.size(), static_cast<size_t>(o.top_k)));
  }
  std::vector<double> weights;
  for (const int32_t id : ids) {
    const double gap = logits[static_cast<size_t>(id)] - *highest;
    weights.push_back(std::exp(gap / o.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t kept = 0;
  double mass = 0;
  while (kept < ids.size() && (kept == 0 || mass < o.top_p * total)) {
    mass += weights[kept++];
  }
  double point = random.Uniform() * mass;
  for (size_t i = 0; i + 1 < kept; ++i) {
    point -= weights[i];
    if (point < 0) return ids[i];
  }
  return ids[kept - 1];
}

}  // namespace edgetune
