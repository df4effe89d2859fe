#include "training/slice_gradient.h"

#include <algorithm>
#include <utility>

namespace edgetune {

SliceGradient::SliceGradient(GradientEngine& engine,
                             std::vector<CoordinateRange> trained)
    : engine_(engine),
      trained_(std::move(trained)),
      values_(Gather(engine.values(), trained_)),
      gradient_(values_.size()) {}

double SliceGradient::AddGradient(ExampleBatch examples, double weight) {
  Scatter(values_, trained_, engine_.values());
  std::ranges::fill(engine_.gradient(), 0.0f);
  const double sum = engine_.AddGradient(examples, weight);
  for (const CoordinateRange& range : trained_) {
    const auto part =
        engine_.gradient().subspan(range.adapter_offset, range.count);
    for (size_t i = 0; i < range.count; ++i) {
      gradient_[range.update_offset + i] += part[i];
    }
  }
  return sum;
}

}  // namespace edgetune
