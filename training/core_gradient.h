#ifndef EDGETUNE_TRAINING_CORE_GRADIENT_H_
#define EDGETUNE_TRAINING_CORE_GRADIENT_H_

#include <cstddef>
#include <span>
#include <vector>

#include "base/parameters.h"
#include "models/io/adapter/adapter_file.h"
#include "training/local_training.h"

namespace edgetune {

// The cores of an adapter (models/io/adapter/core_adapter.h) in training, over
// an engine that trains B of its plain form: B' = B R is what the engine sees,
// and of its gradient dL/dB' the core's is dL/dR = B^T dL/dB'. Nothing else of
// an engine knows of cores. Borrows both; as long-lived as the segment.
class CoreGradient final : public GradientEngine {
 public:
  CoreGradient(GradientEngine& engine, const Adapter& adapter);

  std::span<float> values() override { return values_; }
  std::span<float> gradient() override { return gradient_; }
  double AddGradient(ExampleBatch examples, double weight) override;

 private:
  // One module's: B in the adapter, B' in the engine's values, R in ours.
  struct Module {
    std::span<const float> b;
    size_t product = 0, core = 0;  // first coordinates
    size_t rank = 0;
  };
  void AddCoreGradient(const Module& module,
                       std::span<const float> product_gradient);

  GradientEngine& engine_;
  std::vector<Module> modules_;
  ParameterVector values_, gradient_;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_CORE_GRADIENT_H_
