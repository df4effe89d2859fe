#ifndef EDGETUNE_TRAINING_SLICE_GRADIENT_H_
#define EDGETUNE_TRAINING_SLICE_GRADIENT_H_

#include <span>
#include <vector>

#include "base/factors.h"
#include "base/parameters.h"
#include "training/local_training.h"

namespace edgetune {

// The first rank slices of an adapter in training, over an engine that trains
// all of it: what the optimiser, clipping, a proximal term and checkpoints see
// is these, so that the others stay to the bit. Nothing else of an engine knows
// of them; it computes the others' gradient for nothing. Borrows it; as
// long-lived as the segment.
class SliceGradient final : public GradientEngine {
 public:
  // `trained`: where the trained coordinates stand in the engine's.
  SliceGradient(GradientEngine& engine, std::vector<CoordinateRange> trained);

  std::span<float> values() override { return values_; }
  std::span<float> gradient() override { return gradient_; }
  void BeginStep(int64_t step) override { engine_.BeginStep(step); }
  double AddGradient(ExampleBatch examples, double weight) override;

 private:
  GradientEngine& engine_;
  const std::vector<CoordinateRange> trained_;
  ParameterVector values_, gradient_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_SLICE_GRADIENT_H_
