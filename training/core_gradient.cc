#include "training/core_gradient.h"

#include <algorithm>

#include "base/factors.h"
#include "base/status.h"
#include "models/io/adapter/core_adapter.h"

namespace edgetune {

CoreGradient::CoreGradient(GradientEngine& engine, const Adapter& adapter)
    : engine_(engine),
      values_(Gather(adapter.values, RangesOf(adapter.layout, Factors::kCore))),
      gradient_(values_.size()) {
  const auto& tensors = adapter.layout.tensors();
  size_t product = 0, core = 0;
  for (size_t t = 0; t < tensors.size(); t += 3) {
    const auto& b = tensors[t + 1];
    modules_.push_back({std::span(adapter.values).subspan(b.offset, b.count),
                        product, core, static_cast<size_t>(b.shape[1])});
    product += b.count;
    core += tensors[t + 2].count;
  }
  EDGETUNE_CHECK(core == values_.size() && product == engine.values().size());
}

double CoreGradient::AddGradient(ExampleBatch examples, double weight) {
  for (const Module& module : modules_) {
    TimesCore(
        module.b,
        std::span(values_).subspan(module.core, module.rank * module.rank),
        engine_.values().subspan(module.product, module.b.size()));
  }
  std::ranges::fill(engine_.gradient(), 0.0f);
  const double sum = engine_.AddGradient(examples, weight);
  for (const Module& module : modules_) {
    AddCoreGradient(
        module, engine_.gradient().subspan(module.product, module.b.size()));
  }
  return sum;
}

void CoreGradient::AddCoreGradient(const Module& module,
                                   std::span<const float> product_gradient) {
  const size_t rank = module.rank;
  std::vector<double> sums(rank * rank);
  for (size_t begin = 0; begin < module.b.size(); begin += rank) {
    for (size_t k = 0; k < rank; ++k) {
      for (size_t j = 0; j < rank; ++j) {
        sums[k * rank + j] +=
            double{module.b[begin + k]} * product_gradient[begin + j];
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    gradient_[module.core + i] += static_cast<float>(sums[i]);
  }
}

}  // namespace edgetune
