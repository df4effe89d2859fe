#ifndef EDGETUNE_TESTS_TRAINING_PULLING_ENGINE_H_
#define EDGETUNE_TESTS_TRAINING_PULLING_ENGINE_H_

// A convex problem in an engine's place: what TrainSegment makes of it can be
// written down.

#include <span>
#include <utility>
#include <vector>

#include "training/example_source.h"
#include "training/local_training.h"

namespace edgetune::testing {

// Pulls each value towards the second token of an example: its loss is the sum
// over values of half the squared distance, times `curvature`; its only label
// one token.
class PullingEngine final : public GradientEngine {
 public:
  explicit PullingEngine(ParameterVector values, float curvature = 1)
      : values_(std::move(values)),
        gradient_(values_.size()),
        curvature_(curvature) {}
  std::span<float> values() override { return values_; }
  std::span<float> gradient() override { return gradient_; }
  double AddGradient(ExampleBatch examples, double weight) override {
    double loss = 0;
    for (const LabelledTokens* example : examples) {
      seen.push_back(example->tokens[1]);
      for (size_t i = 0; i < values_.size(); ++i) {
        const float gap = values_[i] - static_cast<float>(example->tokens[1]);
        gradient_[i] += static_cast<float>(weight) * curvature_ * gap;
        loss += 0.5 * curvature_ * gap * gap;
      }
    }
    return loss;
  }

  std::vector<int32_t> seen;  // second tokens, in the order of use

 private:
  ParameterVector values_, gradient_;
  const float curvature_;
};

class Numbers final : public ExampleSource {
 public:
  Numbers() = default;
  // An example for each: pulls towards it.
  explicit Numbers(const std::vector<int32_t>& targets) {
    for (const int32_t target : targets) {
      examples.push_back({{1, target}, {0, 1}});
    }
  }

  std::vector<LabelledTokens> examples;
  int64_t size() const override {
    return static_cast<int64_t>(examples.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples[static_cast<size_t>(index)];
  }
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TRAINING_PULLING_ENGINE_H_
