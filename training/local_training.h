#ifndef EDGETUNE_TRAINING_LOCAL_TRAINING_H_
#define EDGETUNE_TRAINING_LOCAL_TRAINING_H_

// What every engine does alike around its forward and backward pass: which
// examples a step takes, the weight of a micro-batch, clipping, the optimiser,
// what is reported. Stateless; on the calling thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/factors.h"
#include "training/checkpoint.h"
#include "training/trainer.h"

namespace edgetune {

// Evaluation packs examples up to this many tokens a forward pass: enough for
// the matrix products, little memory without gradients.
inline constexpr size_t kEvaluationTokens = 1024;

// Examples of one forward pass. Not owned.
using ExampleBatch = std::span<const LabelledTokens* const>;

// use(row, token) for all that the loss of packed texts is taken on: a row
// (a row a token, example after example), and the token that follows it.
template <typename Use>
void ForTargets(ExampleBatch examples, const Use& use) {
  size_t begin = 0;
  for (const LabelledTokens* example : examples) {
    for (size_t i = 1; i < example->tokens.size(); ++i) {
      if (example->labelled[i] != 0) use(begin + i - 1, example->tokens[i]);
    }
    begin += example->tokens.size();
  }
}

// One adapter in training, at an engine.
class GradientEngine {
 public:
  virtual ~GradientEngine() = default;
  // What is trained and its gradient: LayoutOf(adapter, factors), flat.
  virtual std::span<float> values() = 0;
  virtual std::span<float> gradient() = 0;
  // Before the first AddGradient of a step: what the engine draws at random in
  // it follows from its number (a segment that goes on draws the same).
  virtual void BeginStep(int64_t /*step*/) {}
  // Adds the gradient of weight * (sum of -log p over labelled tokens) at
  // values() to gradient(); returns the sum.
  virtual double AddGradient(ExampleBatch examples, double weight) = 0;
};

// Factors that an engine trains where a segment trains these.
inline Factors EngineFactors(Factors factors) {
  return factors == Factors::kCore ? Factors::kB : factors;
}

// Loss and gradient of one batch at one adapter.
struct BatchGradient {
  double nll_sum = 0;
  int64_t labelled = 0;      // tokens predicted
  ParameterVector gradient;  // of nll_sum / labelled, in layout order
};

// Trainer::Train, but for what depends on the engine. `engine` is made for
// the incoming adapter and config.factors; of an adapter with cores for its
// plain form and B (core_gradient.h, EngineFactors). Frozen slices are trained
// by the engine and held by us (slice_gradient.h).
absl::StatusOr<TrainResult> TrainSegment(
    const Segment& segment, const StopToken& stop,
    const std::function<void(const TrainProgress&)>& progress,
    GradientEngine& engine);

// Trainer::Evaluate likewise; sum_nll returns the sum over labelled tokens.
absl::StatusOr<Evaluation> EvaluateExamples(
    const ModelConfig& model, const ExampleSource& examples,
    int64_t max_examples, const StopToken& stop,
    const std::function<double(ExampleBatch)>& sum_nll);

// What one optimiser step of TrainSegment starts from, for comparisons with
// other implementations: all of `examples` as one batch.
absl::StatusOr<BatchGradient> ComputeBatchGradient(
    const ModelConfig& model, const ExampleSource& examples,
    int64_t micro_batch, GradientEngine& engine);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_LOCAL_TRAINING_H_
